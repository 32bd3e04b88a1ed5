#!/usr/bin/python3
"""The data keys change while clients write, flush and read: none of them sees an error, the job goes on over kills, and in the end
all is there and nothing is under an old key."""
import json
import os
import random
import threading
import time

from coffer import BLOCK, MIB, Pool, connect
from keys_clients import Client

Pool.learns = True

DISK = 256 * MIB
FILL = 160 * MIB
PATIENCE = 120


def fill(pool):
    """Noise, so that it is stored as it is; the same again for each seed."""
    handle, source = connect(pool, "disk"), random.Random(7)
    for offset in range(0, FILL, MIB):
        handle.pwrite(source.randbytes(MIB), offset)
    handle.flush()


def compare(pool, held):
    handle, source = connect(pool, "disk"), random.Random(7)
    for offset in range(0, FILL, MIB):
        expected = bytearray(source.randbytes(MIB))
        for block in range(offset // BLOCK, (offset + MIB) // BLOCK):
            if block in held:
                expected[block * BLOCK - offset:(block + 1) * BLOCK - offset] = held[block]
        assert bytes(handle.pread(MIB, offset)) == bytes(expected), f"the mebibyte at {offset} is another"
    for block, content in held.items():
        assert bytes(handle.pread(BLOCK, block * BLOCK)) == content, f"block {block} is another"


def state(pool):
    return pool.json("key", "status")["deep_rekey"]["state"]


def await_end(pool):
    for _ in range(PATIENCE * 10):
        status = pool.json("key", "status")
        if all(row["current"] for row in status["data_keys"]):
            return status
        time.sleep(0.1)
    raise AssertionError(status)


def under_load(pool, work):
    ends = threading.Event()
    clients = [Client(pool, DISK, index, ends) for index in range(Client.CLIENTS)]
    for client in clients:
        client.start()
    try:
        work()
    finally:
        ends.set()
        for client in clients:
            client.join()
    for client in clients:
        assert client.failed is None, client.failed
    return {block: content for client in clients for block, content in client.held.items()}


def test_under_load_and_over_kills():
    pool = Pool("1G").start()
    pool.create_object("disk", DISK)
    fill(pool)

    def change():
        began = pool.json("key", "rekey", "--deep", "--rate", "32M")
        assert began["deep_rekey"]["state"] == "running" and began["deep_rekey"]["rate"] == 32 * MIB
        assert "under way" in pool.refused("key", "rekey", "--deep")
        assert pool.json("key", "pause")["deep_rekey"]["state"] == "paused"
        left = pool.json("key", "status")["deep_rekey"]["bytes_left"]
        assert left > 0
        told = pool.health()["REKEY_PAUSED"]
        assert told["severity"] == "warning" and told["command"].endswith("key resume"), told
        time.sleep(0.5)
        assert pool.json("key", "resume")["deep_rekey"]["state"] == "running"
        time.sleep(1)

    held = under_load(pool, change)
    pool.kill()
    pool.start()
    assert state(pool) in ("running", "complete")
    compare(pool, held)
    told = pool.json("key", "status")["deep_rekey"]
    if told["state"] == "running": # as slow as it was told to be before the kill
        assert told["rate"] == 32 * MIB, told
    status = await_end(pool)
    assert {row["slot"] for row in status["data_keys"]} == {2}, status
    assert {row["slot"]: row["current"] for row in status["tag_keys"]} == {1: False, 2: True}, status
    assert not status["deep_rekey"]["tag_key_stays"], status
    assert "slot 1 (old), tags of " in pool.coffer("key", "status")
    compare(pool, held)
    pool.kill()
    pool.start()
    compare(pool, held)
    with open(os.path.join(pool.directory, "witness")) as file:
        assert json.load(file)["pool_key"] == 2
    assert [entry["operation"] for entry in pool.json("key", "audit")["list"]].count("key.destroy-data-keys") == 1
    pool.stop()
    pool.check()


test_under_load_and_over_kills()
