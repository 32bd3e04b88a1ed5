#!/usr/bin/python3
"""A scrub that kill -9 interrupts goes on after the restart and names what is damaged by object and range; a client gets
EIO for those blocks and no others; written anew from a backup they are whole again."""
import json
import random
import subprocess
import time

import nbd

from coffer import BLOCK, COFFER, MIB, PATIENCE, Pool, connect

BLOCKS = 4096
BAD = 1232  # of vm1, and of its copy: one of four that are stored together


def content(block):
    return random.Random(block).randbytes(BLOCK)


def scrub(pool):
    """The status, also where known damage makes the exit status 1."""
    result = subprocess.run([COFFER, "-C", pool.directory, "--json", "scrub", "status"], capture_output=True, text=True,
                            timeout=PATIENCE, env=pool.environment)
    return json.loads(result.stdout)


def await_state(pool, state):
    deadline = time.monotonic() + PATIENCE
    while (status := scrub(pool))["state"] != state:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def damage(pool):
    """Changes one byte of a block where it lies on the disk; its content is stored as it is."""
    with open(pool.disk, "r+b") as disk:
        at, wanted, window = 0, content(BAD)[:64], b""
        while (found := window.find(wanted)) < 0:
            at += max(len(window) - 64, 0)
            disk.seek(at)
            window = disk.read(4 * MIB)
            assert len(window) > 64, "the block is not on the disk"
        disk.seek(at + found + 1000)
        byte = disk.read(1)[0]
        disk.seek(at + found + 1000)
        disk.write(bytes([byte ^ 1]))


def read_fails(handle, block):
    try:
        handle.pread(BLOCK, block * BLOCK)
    except nbd.Error as error:
        return error.errno == "EIO"
    return False


pool = Pool("300M", "--no-encryption")
pool.start()
for name in ("vm1", "copy"):
    pool.create_object(name, BLOCKS * BLOCK)
handle = connect(pool, "vm1")
for block in range(0, BLOCKS, 64):
    handle.pwrite(b"".join(content(n) for n in range(block, block + 64)), block * BLOCK)
handle.flush()
handle.shutdown()
handle = connect(pool, "copy")
handle.pwrite(content(BAD), 0)
handle.flush()
handle.shutdown()
pool.stop()
damage(pool)

# Held up by its throttle, killed again and again, it comes to its end all the same. The first save is the start's.
pool.start()
pool.coffer("scrub", "start", "--rate", "2M")
time.sleep(1.5)
started = scrub(pool)["started"]
pool.kill()
pool.start()
status = scrub(pool)
assert status["state"] == "running" and status["started"] == started, status
assert "a scrub runs already" in pool.refused("scrub", "start", status=3)
deadline = time.monotonic() + PATIENCE
while scrub(pool)["bytes_verified"] == 0:
    assert time.monotonic() < deadline, scrub(pool)
    time.sleep(0.1)
pool.stop()
pool.start()
assert scrub(pool)["bytes_verified"] > 0
assert scrub(pool)["started"] == started
pool.coffer("scrub", "throttle", "max")
status = await_state(pool, "complete")

rows = {(row["object"], row["offset"]): row for row in status["damage"]}
assert {place: row["length"] for place, row in rows.items()} == {("vm1", BAD * BLOCK): 4 * BLOCK, ("copy", 0): BLOCK}, status
for row in rows.values():
    assert row["device"] == pool.disk and row["found_by"] == "scrub", row
    assert "(device " + pool.disk in row["sentence"], row
health = pool.health()["DATA_DAMAGED"]
assert health["severity"] == "error" and f"object vm1: {4 * BLOCK} bytes at {BAD * BLOCK}" in health["evidence"], health
told = f"object vm1: {4 * BLOCK} bytes at {BAD * BLOCK} are damaged (device {pool.disk}, segment "
assert told in health["evidence"] and "anew from a backup" in health["command"], health
with open(pool.messages) as messages:
    assert told in messages.read()

handle = connect(pool, "vm1")
assert all(read_fails(handle, block) for block in range(BAD, BAD + 4))
for block in (0, BAD - 1, BAD + 4, BLOCKS - 1):
    assert handle.pread(BLOCK, block * BLOCK) == content(block), block
# A part of it cannot be written, the whole can.
try:
    handle.pwrite(bytes(512), BAD * BLOCK)
    raise AssertionError("a part of a damaged block was written")
except nbd.Error as error:
    assert error.errno == "EIO", error
handle.pwrite(content(BAD), BAD * BLOCK)
assert [(row["object"], row["offset"], row["length"]) for row in scrub(pool)["damage"]] == [
    ("vm1", (BAD + 1) * BLOCK, 3 * BLOCK), ("copy", 0, BLOCK)]
for block in range(BAD + 1, BAD + 4):
    handle.pwrite(content(block), block * BLOCK)
handle.flush()
assert handle.pread(BLOCK, BAD * BLOCK) == content(BAD)
handle.shutdown()
assert [row["object"] for row in scrub(pool)["damage"]] == ["copy"]
handle = connect(pool, "copy")
handle.trim(BLOCK, 0)
handle.flush()
handle.shutdown()
assert scrub(pool)["damage"] == []

# What was written anew is whole on the disk too.
pool.stop()
pool.start()
pool.coffer("scrub", "start", "--rate", "max")
await_state(pool, "complete")
assert all(not row["lost"] or row["object"] == "" for row in scrub(pool)["damage"]), scrub(pool)
handle = connect(pool, "vm1")
assert handle.pread(BLOCK, BAD * BLOCK) == content(BAD)
handle.shutdown()

pool.coffer("lock")
assert "unlock" in pool.refused("scrub", "start", status=3)
pool.coffer("unlock")
pool.stop()
assert "cofferd" in pool.refused("scrub", "start")
