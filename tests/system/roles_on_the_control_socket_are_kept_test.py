#!/usr/bin/python3
"""Root gives others roles on the control socket: one user looks, one changes disks, one keys, none does what another may. The
audit says who it was. A line that goes takes its role away at once, and who has none is told what line would give it.
"""
import json
import os
import shutil
import subprocess

from coffer import COFFER, MIB, PATIENCE, Pool, skip

LOOKS, CHANGES, KEYS, STRANGER = 65101, 65102, 65103, 65104
MONITORS = 65200
ROLES = f"""
[control]
observe = group:{MONITORS}
operate = user:{CHANGES}
keys = user:{KEYS}
"""


def conf_of(pool):
    return os.path.join(pool.directory, "coffer.conf")


def say(pool, before, after):
    with open(conf_of(pool)) as file:
        text = file.read()
    assert before in text, text
    with open(conf_of(pool) + ".new", "w") as file:
        file.write(text.replace(before, after, 1))
    os.chmod(conf_of(pool) + ".new", 0o600)
    os.rename(conf_of(pool) + ".new", conf_of(pool))


class Others:
    """Users of other numbers, with a copy of the command: where it was built may be closed to them."""

    def __init__(self, pool, socket):
        self.pool, self.socket = pool, socket
        self.program = os.path.join(pool.base, "coffer")
        shutil.copy(COFFER, self.program)
        os.chmod(self.program, 0o755)

    def call(self, user, *words, place=None):
        groups = [MONITORS] if user == LOOKS else []
        return subprocess.run([self.program, "-C", place or self.socket, *words], capture_output=True, text=True, user=user,
                              group=user, extra_groups=groups, env=self.pool.environment, timeout=PATIENCE, cwd="/")

    def may(self, user, *words):
        result = self.call(user, *words)
        assert result.returncode == 0, f"user {user}, {words}: {result.stderr}"
        return result.stdout

    def may_not(self, user, *words, needs=None):
        result = self.call(user, *words)
        said = " ".join(result.stderr.split())
        assert result.returncode == 3, f"user {user}, {words}: {result.returncode} {said}"
        line = f"`{needs} = user:NAME`" if needs else f"`observe = user:{user}`"
        assert line in said and "[control]" in said, said


def made():
    pool = Pool("512M")
    os.chmod(pool.base, 0o755)
    open_to_all = os.path.join(pool.base, "open")
    os.mkdir(open_to_all)
    os.chmod(open_to_all, 0o755)
    socket = os.path.join(open_to_all, "control.sock")
    say(pool, "#control = control.sock", f"control = {socket}")
    return pool, socket


def start(pool, socket):
    """As Pool.start, whose daemon has its control socket elsewhere."""
    pool.answers = lambda: os.path.exists(socket) and os.path.exists(pool.socket)
    pool.start()


def each_does_its_own(others):
    for user in (LOOKS, CHANGES, KEYS):
        assert json.loads(others.may(user, "--json", "status"))["locked"] is False
        others.may(user, "health")
        others.may(user, "object", "list")
    others.may(CHANGES, "object", "create", "disk", "--size", str(MIB))
    for user in (LOOKS, KEYS):
        others.may_not(user, "object", "create", "other", "--size", str(MIB), needs="operate")
        others.may_not(user, "scrub", "start", needs="operate")
    for user in (LOOKS, CHANGES):
        others.may_not(user, "lock", needs="keys")
        others.may_not(user, "key", "rekey", "--shallow", needs="keys")
    others.may(KEYS, "key", "rekey", "--shallow")
    others.may_not(STRANGER, "status")


def the_audit_says_who(pool):
    entry = pool.json("key", "audit")["list"][-1]
    assert entry["operation"] == "key.rekey" and entry["uid"] == KEYS, entry


def a_wrong_line_keeps_no_disk_away(pool, socket):
    say(pool, f"operate = user:{CHANGES}\n", f"operator = user:{CHANGES}\n")
    for again in (False, True):
        if again:
            pool.stop()
            start(pool, socket)
            assert 'unknown key "operator" in [control]' in pool.last_messages(), pool.last_messages()
        pool.status()
        assert os.stat(socket).st_mode & 0o777 == 0o600
        found = pool.health()["ROLES_WRONG"]
        assert found["severity"] == "error" and 'unknown key "operator" in [control]' in found["evidence"], found
    say(pool, "operator", "operate")
    assert pool.health()["ROLES_WRONG"]["severity"] == "ok"


def main():
    if os.geteuid() != 0:
        skip("needs root")
    pool, socket = made()
    others = Others(pool, socket)
    start(pool, socket)
    assert os.stat(socket).st_mode & 0o777 == 0o600
    closed = others.call(LOOKS, "status")
    assert closed.returncode == 3 and "-C SOCKET" in " ".join(closed.stderr.split()), closed.stderr

    say(pool, "[control]\n", ROLES.lstrip())
    pool.status()  # any question makes the socket follow the conf; else a minute does
    assert os.stat(socket).st_mode & 0o777 == 0o666
    assert pool.health()["WIDE_MODES"]["severity"] == "ok"
    each_does_its_own(others)
    the_audit_says_who(pool)

    say(pool, f"keys = user:{KEYS}\n", "")
    others.may_not(KEYS, "lock")
    others.may(LOOKS, "status")
    pool.stop()
    start(pool, socket)
    others.may(LOOKS, "status")
    others.may_not(KEYS, "status")
    assert "[control]" not in pool.last_messages(), pool.last_messages()
    a_wrong_line_keeps_no_disk_away(pool, socket)
    pool.stop()


if __name__ == "__main__":
    main()
