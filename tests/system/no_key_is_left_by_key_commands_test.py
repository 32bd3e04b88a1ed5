#!/usr/bin/python3
"""Every command on keys: none shows a key, a passphrase or a recovery key in its arguments or environment while it runs, nor
leaves one in its memory at its end; and after them all (a deep rekey, a swap, a new passphrase, a backup, its drill and its
restore, a recovery key, unlocks by both) a lock leaves no key in the daemon's memory, neither those in force nor those of
before, which the same look finds before the lock. Messages, conf, audit and answers show none either.
"""
import os
import re
import subprocess
import time

from coffer import COFFER, MIB, PATIENCE, connect
from memory_image import PAGE, PASSPHRASE, WHOLE, core, keys_of, need_cores, parts, raw_in, sealed_pool

OTHER = "words that only the second provider knows"
NEWER = "words that came later"
PASSWORD = "what the backup is under"
AT_END = ("set breakpoint pending on", "catch syscall exit_group", "run")


class Commands:
    """Runs commands of a pool, and keeps what can be seen of each and what it left."""

    def __init__(self, pool):
        self.pool, self.seen, self.cores = pool, bytearray(), {}

    def look(self, process):
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{process.pid}/{name}", "rb") as file:
                    self.seen += b"\n" + file.read()
            except OSError:
                pass  # it has just ended

    def run(self, *words):
        """What it prints; all that `ps` shows of it meanwhile is kept."""
        process = subprocess.Popen([COFFER, "-C", self.pool.directory, *words], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=self.pool.environment)
        while process.poll() is None:
            self.look(process)
            time.sleep(0.005)
        out, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, (words, error)
        self.seen += out + error if words[:2] != ("key", "recovery") else b""
        return out.decode()

    def left(self, *words):
        """Runs it under gdb, which takes a core as it ends; as the kernel would, without what is marked as not to be dumped."""
        path = os.path.join(self.pool.base, "core")
        commands = (*AT_END, f"generate-core-file {path}", "kill")
        words = ["gdb", "--batch", "-nx", *(word for one in commands for word in ("-ex", one)), "--args", COFFER, "-C",
                 self.pool.directory, *words]
        said = subprocess.run(words, capture_output=True, timeout=PATIENCE, env=self.pool.environment, stdin=subprocess.DEVNULL)
        assert os.path.exists(path), said.stdout[-500:] + said.stderr[-500:]
        with open(path, "rb") as file:
            data = b"".join(page for page in iter(lambda: file.read(PAGE), b"") if page != bytes(PAGE))
        os.unlink(path)
        self.cores[" ".join(words[-4:])] = data


def secret(pool, name, text):
    path = os.path.join(pool.base, name)
    with open(path, "w") as file:
        file.write(text + "\n")
    os.chmod(path, 0o600)
    return path


def await_deep(pool):
    for _ in range(PATIENCE * 20):
        if pool.json("key", "status")["deep_rekey"]["state"] == "complete":
            return
        time.sleep(0.05)
    raise AssertionError(pool.json("key", "status"))


def said(pool):
    """Messages and what lies in the pool directory in the clear."""
    data = b""
    for path in [pool.messages, *pool.files()]:
        if os.path.getsize(path) < MIB:
            with open(path, "rb") as file:
                data += file.read()
    return data


def main():
    need_cores()
    pool, words = sealed_pool()
    before = keys_of(pool)
    commands = Commands(pool)
    password, other, newer = (secret(pool, name, text) for name, text in
                              (("password", PASSWORD), ("other", OTHER), ("newer", NEWER)))
    backup, restored = os.path.join(pool.base, "pool.p12"), os.path.join(pool.base, "restored.key")
    pool.start("--passphrase-file", words)
    pool.create_object("disk", 64 * MIB)
    handle = connect(pool, "disk")
    for number in range(16):
        handle.pwrite(os.urandom(MIB), number * MIB)
    handle.shutdown()
    commands.run("key", "rekey", "--deep", "--passphrase-file", words)
    await_deep(pool)
    commands.run("key", "provider", "add", "second", "--type", "native", "--seal", "passphrase")
    commands.run("key", "provider", "use", "second", "--passphrase-file", words, "--new-passphrase-file", other)
    commands.run("key", "provider", "reseal", "--passphrase-file", other, "--new-passphrase-file", newer)
    shown = commands.run("key", "recovery", "--to", "print", "--passphrase-file", newer)
    paper = re.sub(r"\s+", "-", re.search(r"(?:[A-Z2-7]{4}[-\s]+){13}[A-Z2-7]{4}", shown).group())
    recovery = secret(pool, "paper", paper)
    commands.run("key", "backup", backup, "--password-file", password, "--passphrase-file", newer)
    commands.left("key", "drill", backup, "--password-file", password)
    commands.run("key", "restore", backup, "--to", restored, "--password-file", password)
    commands.run("lock")
    commands.run("unlock", "--recovery", recovery)
    commands.run("lock")
    commands.left("unlock", "--key", backup, "--password-file", password)
    unlocked = core(pool, "unlocked", WHOLE)
    commands.run("lock")
    locked = core(pool, "locked", WHOLE)
    with open(f"/proc/{pool.daemon.pid}/cmdline", "rb") as file:
        commands.seen += file.read()
    pool.stop(check_resident=False)  # a core makes all memory resident
    text = said(pool)
    keys = keys_of(pool, NEWER)
    assert keys["dek"].isdisjoint(before["dek"]) and keys["kdk"].isdisjoint(before["kdk"])
    assert {"dek", "log", "pool"} <= raw_in(unlocked, keys), "the look finds no keys"
    for name in before:
        keys[name] |= before[name]
    secrets = [one.encode() for one in (PASSPHRASE, OTHER, NEWER, PASSWORD, paper, paper.replace("-", ""))]
    for what, data in (("after the lock the daemon", locked), ("what was seen", bytes(commands.seen)), ("what was said", text),
                       *((f"the core of {name}", data) for name, data in commands.cores.items())):
        leaked = raw_in(data, keys)
        assert not leaked, f"{what} has {sorted(leaked)}"
        assert not [one for one in secrets if one in data], f"{what} has a secret"
    hexadecimal = {name for name, part in parts(keys) if part.hex().encode() in text + bytes(commands.seen)}
    assert not hexadecimal, f"{sorted(hexadecimal)} in hexadecimal digits"
    assert len(commands.cores) == 2 and all(backup.encode() in data for data in commands.cores.values()), "cores of something else"
    assert b"--deep" in commands.seen, "commands were not looked at"
    print(f"nothing of {sum(len(values) for values in keys.values())} keys")


if __name__ == "__main__":
    main()
