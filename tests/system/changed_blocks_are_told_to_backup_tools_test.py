#!/usr/bin/python3
"""What changed since a snapshot is told by `coffer object diff`, by nbdinfo's map of the context coffer:changed and by
libnbd, alike: over writes, trims and growth, before and after a merge. While a client asks, the snapshot stays. A copy
that takes over what is told, and nothing else, is the disk."""
import json
import threading

import nbd

from coffer import BLOCK, MIB, Pool, connect, need, run

SIZE = 64 * MIB
CONTEXT = "coffer:changed:s1"


def told_by_diff(pool, base, name):
    diff = pool.json("object", "diff", base, name)
    return {(row["offset"], row["length"], row["kind"]) for row in diff["extents"]}


def told_by_nbdinfo(pool, name, context):
    rows = json.loads(run("nbdinfo", "--json", "--map=" + context, pool.uri(name)))
    kinds = {1: "data", 3: "zero"}
    return {(row["offset"], row["length"], kinds[row["type"]]) for row in rows if row["type"]}


def write(pool, changes):
    handle = connect(pool, "disk")
    for offset, data in changes:
        handle.pwrite(data, offset)
    handle.shutdown()


def trim(pool, offset, length):
    handle = connect(pool, "disk")
    handle.trim(length, offset)
    handle.shutdown()


def read(pool, name, size=SIZE):
    handle = connect(pool, name)
    data = b"".join(bytes(handle.pread(MIB, offset)) for offset in range(0, size, MIB))
    handle.shutdown()
    return data


need("nbdinfo")
pool = Pool("1G")
pool.start()
pool.create_object("disk", SIZE)
write(pool, [(offset, bytes([7]) * MIB) for offset in range(0, SIZE // 2, MIB)])
pool.coffer("object", "snapshot", "disk", "--name", "s1")
assert told_by_diff(pool, "disk@s1", "disk") == set()
before = read(pool, "disk@s1")

write(pool, [(10 * MIB, b"a" * BLOCK), (10 * MIB + 2 * BLOCK, b"b" * BLOCK), (40 * MIB, b"c" * 3 * BLOCK)])
trim(pool, 20 * MIB, 2 * MIB)
trim(pool, 50 * MIB, MIB)  # was a hole before
pool.coffer("object", "snapshot", "disk", "--name", "s2")
expected = {(10 * MIB, BLOCK, "data"), (10 * MIB + 2 * BLOCK, BLOCK, "data"), (40 * MIB, 3 * BLOCK, "data"),
            (20 * MIB, 2 * MIB, "zero")}
for merged in (False, True):
    for name in ("disk", "disk@s2"):
        assert told_by_diff(pool, "disk@s1", name) == expected, told_by_diff(pool, "disk@s1", name)
        assert told_by_nbdinfo(pool, name, CONTEXT) == expected
    if not merged:
        pool.stop()
        pool.start()

listing = run("nbdinfo", "--list", "--json", pool.uri("disk"))
assert CONTEXT in listing and "coffer:changed:s2" in listing and "base:allocation" in listing, listing
assert "coffer:changed:s9" not in run("nbdinfo", "--json", "--no-content", pool.uri("disk"))

# What is told, and nothing else, makes the older the newer.
copy, after = bytearray(before), read(pool, "disk@s2")
for offset, length, kind in expected:
    copy[offset:offset + length] = after[offset:offset + length]
    assert kind != "zero" or not any(after[offset:offset + length])
assert copy == after

# A client that asks keeps the snapshot; two contexts at once.
handle = nbd.NBD()
handle.add_meta_context(CONTEXT)
handle.add_meta_context("base:allocation")
handle.connect_uri(pool.uri("disk"))
assert handle.can_meta_context(CONTEXT) and handle.can_meta_context("base:allocation")
assert "in use" in pool.refused("object", "delete", "disk@s1", status=3)
seen = {}
handle.block_status(SIZE, 0, lambda context, offset, entries, error: seen.update({context: entries}) or 0)
assert set(seen) == {CONTEXT, "base:allocation"}
handle.shutdown()

pool.coffer("object", "resize", "disk", "--size", str(2 * SIZE))
write(pool, [(SIZE + MIB, b"d" * BLOCK)])
assert told_by_nbdinfo(pool, "disk", "coffer:changed:s2") == {(SIZE + MIB, BLOCK, "data")}
assert pool.json("object", "diff", "disk@s2")["base_size"] == SIZE

# Asked while it is written, every answer is whole; what was written before is told.
stopped = threading.Event()


def keep_writing():
    other = connect(pool, "disk")
    while not stopped.is_set():
        for offset in range(0, 4 * MIB, 64 * BLOCK):
            other.pwrite(b"e" * BLOCK, offset)
    other.shutdown()


writer = threading.Thread(target=keep_writing)
writer.start()
for _ in range(20):
    assert (SIZE + MIB, BLOCK, "data") in told_by_diff(pool, "disk@s2", "disk")
stopped.set()
writer.join()
pool.stop()
pool.check()
