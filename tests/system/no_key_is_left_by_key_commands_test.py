#!/usr/bin/python3
"""Every command on keys: none shows a key, a passphrase or a recovery key in its arguments or environment while it runs, nor
leaves one in its memory at its end; and after them all (deep rekeys, a swap, a new passphrase, a backup, its drill and its
restore, a recovery key, unlocks by each way) a lock leaves no key in the daemon's memory, neither those in force nor those of
before, which the same look finds before the lock. Disks, pool directory, messages, journal, audit and answers show none
either; what is planted in each is found.
"""
import os
import re
import subprocess
import time

import seen
from coffer import COFFER, COFFERD, MIB, PATIENCE, connect
from journal import Journal
from key_scan import found_in_files, raw_in
from memory_image import PAGE, PASSPHRASE, WHOLE, core, need_cores, sealed_pool

OTHER = "words that only the second provider knows"
NEWER = "words that came later"
PASSWORD = "what the backup is under"
AT_END = ("set breakpoint pending on", "catch syscall exit_group", "run")


class Commands:
    """Runs commands of a pool, and keeps what they say and what they leave."""

    def __init__(self, pool):
        self.pool, self.said, self.cores = pool, "", {}

    def run(self, *words):
        """What it prints; what `ps` shows of it meanwhile is kept (seen.py)."""
        said = self.pool.coffer(*words)
        self.said += said if words[:2] != ("key", "recovery") else ""
        return said

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


def start_as_a_unit(pool, journal, words):
    """As systemd starts one: its standard error is a stream to the journal."""
    stream, name = journal.stream(pool.messages)
    pool.daemon = subprocess.Popen([COFFERD, pool.directory, "--passphrase-file", words], stdout=stream, stderr=stream,
                                   env=dict(pool.environment, JOURNAL_STREAM=name))
    stream.close()
    while not pool.answers():
        assert pool.daemon.poll() is None, pool.last_messages()
        time.sleep(0.01)


def fill(pool):
    pool.create_object("disk", 64 * MIB)
    handle = connect(pool, "disk")
    for number in range(16):
        handle.pwrite(os.urandom(MIB), number * MIB)
    handle.shutdown()


def await_deep(pool):
    for _ in range(PATIENCE * 20):
        if pool.json("key", "status")["deep_rekey"]["state"] == "complete":
            return
        time.sleep(0.05)
    raise AssertionError(pool.json("key", "status"))


def keys_change(commands, words, other, newer):
    """From the first provider to the second, which gets new words; what it was is ended and taken out."""
    pool = commands.pool
    commands.run("key", "rekey", "--deep", "--passphrase-file", words)
    await_deep(pool)
    commands.run("key", "rekey", "--shallow", "--new-root", "--passphrase-file", words)
    first = pool.json("key", "status")["provider"]
    commands.run("key", "provider", "add", "second", "--type", "native", "--seal", "passphrase")
    commands.run("key", "provider", "use", "second", "--passphrase-file", words, "--new-passphrase-file", other)
    commands.run("key", "retire", "--destroy")
    commands.run("key", "provider", "remove", first)
    commands.run("key", "provider", "reseal", "--passphrase-file", other, "--new-passphrase-file", newer)
    commands.run("key", "provider", "test", "--passphrase-file", newer)


def paper_of(shown):
    """The recovery key that was printed."""
    return re.sub(r"\s+", "-", re.search(r"(?:[A-Z2-7]{4}[-\s]+){13}[A-Z2-7]{4}", shown).group())


def secret_is_found_where_it_is_planted(pool, keys):
    """In a process, in the midst of a disk, and as text in a file."""
    key = next(iter(keys["dek"]))
    before = set(seen.texts)
    subprocess.run(["sh", "-c", "read line", key.hex()], stdin=subprocess.DEVNULL)
    child = subprocess.Popen(["sleep", "100"], env={"SECRET": NEWER})
    while not any(NEWER.encode() in text for text in seen.texts):
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert seen.shown(b"\n".join(seen.texts)) >= {"newer"}
    seen.texts.clear()
    seen.texts.update(before)
    disk, text = pool.disk, os.path.join(pool.directory, "coffer.conf")
    at = 200 * MIB + 4091  # behind a hole, over the border of a block
    with open(disk, "r+b") as file:
        file.seek(at)
        file.write(key)
    with open(text, "a") as file:
        file.write("# " + key.hex() + "\n")
    found = found_in_files(pool)
    assert {(name, path) for name, path, _ in found} == {("dek", disk), ("dek", text)} and ("dek", disk, at) in found, found


def main():
    need_cores()
    journal = Journal()
    pool, words = sealed_pool()
    before = pool.learn(PASSPHRASE)
    commands = Commands(pool)
    password, other, newer = (pool.secret(name, text) for name, text in
                              (("password", PASSWORD), ("other", OTHER), ("newer", NEWER)))
    backup, restored, bundle, report = (os.path.join(pool.base, name) for name in
                                        ("pool.p12", "restored.key", "pool.backup", "report"))
    start_as_a_unit(pool, journal, words)
    fill(pool)
    keys_change(commands, words, other, newer)
    paper = paper_of(commands.run("key", "recovery", "--to", "print", "--passphrase-file", newer))
    recovery = pool.secret("paper", paper)
    seen.learn_secret("paper", paper.replace("-", ""))
    commands.run("key", "backup", backup, "--password-file", password, "--passphrase-file", newer)
    commands.left("key", "drill", backup, "--password-file", password)
    commands.run("key", "restore", backup, "--to", restored, "--password-file", password)
    commands.run("backup", bundle, "--passphrase-file", password)
    commands.run("key", "status")
    commands.run("key", "audit")
    commands.run("key", "report", report)
    commands.run("lock")
    commands.run("unlock", "--passphrase-file", newer)
    commands.run("lock")
    commands.run("unlock", "--recovery", recovery)
    commands.run("lock")
    commands.left("unlock", "--key", backup, "--password-file", password)
    unlocked = core(pool, "unlocked", WHOLE)
    commands.run("lock")
    locked = core(pool, "locked", WHOLE)
    pool.stop(check_resident=False)  # a core makes all memory resident
    keys = pool.learn(NEWER)  # and looks at disks, files and messages
    assert keys["dek"].isdisjoint(before["dek"]) and keys["kdk"].isdisjoint(before["kdk"])
    assert {"dek", "log", "pool"} <= raw_in(unlocked, keys), "the look finds no keys"
    found = found_in_files(pool, backup, bundle, report)
    assert not found, found
    for what, data in (("after the lock the daemon", locked), ("what was said", commands.said.encode()),
                       *((f"the core of {name}", data) for name, data in commands.cores.items())):
        leaked = raw_in(data, seen.keys)
        assert not leaked, f"{what} has {sorted(leaked)}"
        assert not [name for text, name in seen.secrets.items() if text.encode() in data], f"{what} has a secret"
    assert not seen.shown(commands.said.encode())
    assert len(commands.cores) == 2
    assert all(backup.encode() in data for data in commands.cores.values()), "cores of something else"
    assert any(b"--deep" in text for text in seen.texts), "commands were not looked at"
    assert any(b"JOURNAL_STREAM" in text for text in seen.texts), "the daemon was not looked at"
    with open(pool.messages, "rb") as file:
        lines = file.read().splitlines()
    assert lines and all(re.match(rb"<[3-7]>", line) for line in lines), lines  # as the journal wants them
    assert not journal.datagrams, "somebody spoke to the journal otherwise"
    secret_is_found_where_it_is_planted(pool, keys)
    print(f"nothing of {sum(len(values) for values in seen.keys.values())} keys")


if __name__ == "__main__":
    main()
