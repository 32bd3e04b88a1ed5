#!/usr/bin/python3
"""The audit: starts, stops, locks, unlocks and changes of keys are entries with who, when and what; a file that was changed,
cut off or removed is named by `key audit` and `health`, also after the witness was set back; the pool opens all the same."""
import json
import os
import subprocess
import time

from coffer import COFFER, Pool

Pool.learns = True


def entries(pool):
    return pool.json("key", "audit")["list"]


def whole_audit(pool):
    """Also where the command ends with an error, since something is wrong with the file."""
    answer = subprocess.run([COFFER, "-C", pool.directory, "--json", "key", "audit"], capture_output=True, text=True,
                            timeout=120, env=pool.environment)
    assert answer.returncode == 1, answer
    return json.loads(answer.stdout)


def health(pool):
    return pool.health()["AUDIT"]["severity"]


def beside_the_daemon():
    """What a command does by itself, while the daemon runs or not: proved by the pool's key, or marked as not."""
    pool = Pool("300M")
    password, backup, recovery = (os.path.join(pool.base, name) for name in ("password", "pool.p12", "recovery"))
    with open(password, "w") as file:
        file.write("horse\n")
    os.chmod(password, 0o600)
    pending = os.path.join(pool.directory, "audit-pending")
    pool.coffer("key", "backup", backup, "--password-file", password)
    pool.coffer("key", "provider", "add", "other", "--type", "native", "--seal", "file")
    pool.refused("key", "provider", "add", "other", "--type", "native", "--seal", "file")
    assert os.stat(pending).st_mode & 0o777 == 0o600
    pool.start()
    assert not os.path.exists(pending)
    pool.coffer("key", "provider", "remove", "other")
    pool.coffer("key", "recovery", "--to", recovery)
    pool.coffer("key", "rekey", "--shallow", "--new-root", "--recovery", recovery)
    found = entries(pool)
    assert [entry["operation"] for entry in found] == [
        "key.backup", "key.provider-add", "key.provider-add", "pool.open", "key.provider-remove", "key.recovery",
        "key.rekey-root"], found
    offline = [entry["offline"] for entry in found]
    assert offline == [True, True, True, False, True, True, False], found
    unproven = [not entry["proved"] for entry in found]
    assert unproven == [False, True, True, False, True, False, False], found
    marks = [("; offline" in entry["result"], "; offline, unproven, " in entry["result"]) for entry in found]
    assert marks == list(zip(offline, unproven)), found  # for who looked there before there were fields
    assert found[0]["result"].startswith("ok;") and not found[2]["result"].startswith("ok"), found
    assert all(entry["made"] == entry["time"] if not entry["offline"] else 0 < entry["made"] <= entry["time"] for entry in found), found
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found[0]["made"]))
    said = pool.coffer("key", "audit")
    assert f"ok; offline, {made}" in said and found[0]["result"] in said and "; offline, unproven, 20" in said, said
    assert found[0]["key"].endswith("/1") and found[2]["target"] == "provider other", found
    assert "by a backup or recovery key" in found[6]["target"], found
    assert health(pool) == "ok"
    pool.remove()


def devices_know_at_once():
    """Witness and audit are set back together after a kill, while nobody wrote to a disk: the devices know better all the same."""
    pool = Pool("300M").start()
    names = {name: os.path.join(pool.directory, name) for name in ("audit", "witness")}
    before = {name: open(path, "rb").read() for name, path in names.items()}
    pool.refused("key", "retire", "1")  # it is the one in force
    pool.kill()
    for name, path in names.items():
        with open(path, "wb") as file:
            file.write(before[name])
    pool.start()
    assert health(pool) == "error"
    assert "was expected" in whole_audit(pool)["fault"], whole_audit(pool)
    before["witness"] = open(names["witness"], "rb").read()
    pool.coffer("key", "rekey", "--shallow")
    pool.kill()
    with open(names["witness"], "wb") as file:
        file.write(before["witness"])
    said = pool.start_refused()
    assert "witness" in said and "--accept-rollback" in said, said
    pool.remove()


def main():
    devices_know_at_once()
    pool = Pool("1G").start()
    path = os.path.join(pool.directory, "audit")
    pool.coffer("key", "rekey", "--shallow")
    pool.coffer("lock")
    pool.coffer("unlock")
    pool.coffer("key", "rekey", "--shallow", "--new-root")
    pool.kill()
    pool.start()
    found = entries(pool)
    assert [entry["operation"] for entry in found] == [
        "pool.open", "key.rekey", "pool.lock", "pool.unlock", "key.rekey-root", "pool.open"], found
    assert [entry["number"] for entry in found] == list(range(1, 7)), found
    assert all(entry["result"] == "ok" and entry["uid"] == os.geteuid() for entry in found), found
    assert found[4]["key"].endswith("/3") and found[0]["key"].endswith("/1"), found
    assert all(abs(entry["time"] - time.time()) < 600 for entry in found), found
    assert found[1]["pid"] not in (found[0]["pid"], os.getpid()), found
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert health(pool) == "ok"
    table = pool.coffer("key", "audit")
    assert "key.rekey-root" in table and "All 6 entries" in table, table

    # Files of the pool directory are set back together, as from a backup: the devices know better.
    pool.stop()
    old = {name: open(os.path.join(pool.directory, name), "rb").read() for name in ("audit", "witness")}
    pool.start()
    pool.coffer("key", "rekey", "--shallow")
    pool.stop()
    lines = open(path).read().splitlines(keepends=True)
    with open(path, "wb") as file:
        file.write(old["audit"])
    pool.start()
    assert health(pool) == "error"
    assert "was expected" in whole_audit(pool)["fault"], whole_audit(pool)
    pool.stop()

    for spoil, said in ((lambda text: text[:len(text) // 2] + text[len(text) // 2 + 1:], ("no entry", "expected", "changed")),
                        (lambda text: text.replace('"ok"', '"no"', 1), ("changed",)),
                        (lambda text: "", ("expected",))):
        with open(path, "w") as file:
            file.write(spoil("".join(lines)))
        pool.start()
        answer = whole_audit(pool)
        assert any(word in answer["fault"] for word in said), (said, answer["fault"])
        assert answer["list"][-1]["operation"] == "pool.open", answer
        assert answer["list"][-2]["operation"] == "audit.found", answer
        pool.stop()
    os.unlink(path)
    beside_the_daemon()
    os.mkdir(path)  # cannot be written: told, and the pool works
    pool.start()
    assert health(pool) == "warning"
    pool.coffer("lock")
    pool.coffer("unlock")
    pool.stop()
    os.rmdir(path)


main()
