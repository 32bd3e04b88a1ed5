#!/usr/bin/python3
"""Modes wider than the owner's: with such a key file the pool stays locked until it is closed; for all else a warning at
the start and in health, with a command that closes what is open.
"""
import os
import subprocess
import time

from coffer import MIB, PATIENCE, Pool


def modes(pool):
    return pool.health()["WIDE_MODES"]


def path(pool, name):
    return os.path.join(pool.directory, name)


def main():
    pool = Pool("512M")
    pool.start()
    assert modes(pool)["severity"] == "ok", modes(pool)
    assert "open to other users" not in pool.last_messages()
    wide = {"coffer.conf": 0o644, "witness": 0o640, "disk": 0o604, "nbd.sock": 0o666, "control.sock": 0o660, "": 0o755}
    for name, mode in wide.items():
        os.chmod(path(pool, name), mode)
        found = modes(pool)
        assert found["severity"] == "warning", found
        assert f"{os.path.normpath(path(pool, name))} (mode {mode:04o})" in found["evidence"], found
        subprocess.run(["sh", "-c", found["command"]], check=True)
        assert modes(pool)["severity"] == "ok", modes(pool)
    pool.stop()

    os.chmod(path(pool, "witness"), 0o644)
    pool.start()
    assert "open to other users: " + path(pool, "witness") in pool.last_messages()
    key = path(pool, "native.key")
    os.chmod(key, 0o640)
    found = modes(pool)
    assert found["severity"] == "error" and key in found["evidence"], found
    pool.create_object("disk", 64 * MIB)  # it goes on; only the next start needs the key
    pool.stop()
    pool.start()
    assert pool.status()["locked"] and f"chmod go= {key}" in pool.status()["why_locked"]
    subprocess.run(["sh", "-c", found["command"]], check=True)
    deadline = time.monotonic() + PATIENCE
    while pool.status()["locked"]:
        assert time.monotonic() < deadline, pool.last_messages()
        time.sleep(0.1)
    assert modes(pool)["severity"] == "ok", modes(pool)
    pool.stop()


if __name__ == "__main__":
    main()
