#!/usr/bin/python3
"""After `coffer lock` no key and nothing that clients wrote or read is in the daemon's memory: caches, buffers of
batches, of the log and of the network, codecs, freed memory, and the arena too. The same look before the lock finds
both, so it would find them.
"""
import os
import random

from coffer import KIB, MIB, connect
from key_scan import keys_of, raw_in
from memory_image import PASSPHRASE, WHOLE, core, need_cores, sealed_pool

MARK = os.urandom(12)  # in everything that is written, also in the midst of what cannot be compressed
OTHER_MARK = os.urandom(12)  # in what is only overwritten in part
DISK = 128 * MIB


def text(size):
    """Compresses, but for some of its words: what a codec keeps as literals."""
    words = [os.urandom(6).hex().encode() for _ in range(64)]
    data = b"".join(random.choice(words) + MARK + b" " for _ in range(size // 20 + 1))
    return data[:size]


def noise(size):
    """Does not compress."""
    return b"".join(MARK + os.urandom(500) for _ in range(size // 512 + 1))[:size]


def write(handle):
    for number in range(16):
        handle.pwrite(text(MIB), number * MIB)
        handle.pwrite(noise(MIB), (16 + number) * MIB)
    for number in range(512):  # small ones: zstd; and in parts of blocks, which are read, changed and written
        handle.pwrite(text(4 * KIB), 32 * MIB + number * 4 * KIB)
        handle.pwrite(OTHER_MARK + text(600), 33 * MIB + number * 6 * KIB + 100)
    handle.pwrite(text(2 * MIB) * 2, 40 * MIB)  # duplicates: compared
    handle.pwrite(noise(20 * MIB), 50 * MIB)    # larger than a block of the network's memory
    handle.flush()


def read(handle):
    for number in range(32):
        handle.pread(MIB, number * MIB)
    handle.pread(20 * MIB, 50 * MIB + 1000)
    for number in range(512):
        handle.pread(700, 33 * MIB + number * 6 * KIB + 50)
    handle.cache(8 * MIB, 0)


def asynchronously(handle):
    """Many at once, so that more than one thread of a connection works."""
    import nbd
    buffers = [nbd.Buffer(4 * KIB) for _ in range(256)]
    for number, buffer in enumerate(buffers):
        handle.aio_pread(buffer, number * 20 * KIB)
        handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(text(4 * KIB))), 80 * MIB + number * 4 * KIB)
    while handle.aio_in_flight():
        handle.poll(-1)


def use(pool):
    handles = [connect(pool, "disk") for _ in range(3)]
    for handle in handles:
        write(handle)
        read(handle)
        asynchronously(handle)
    return handles


def marks_in(data):
    """With a few bytes around one, which tell whose memory it was."""
    found = []
    for mark in (MARK, OTHER_MARK):
        at = data.find(mark)
        while at >= 0:
            found.append(bytes(data[max(at - 24, 0):at + 40]))
            at = data.find(mark, at + 1)
    return found


def main():
    need_cores()
    pool, path = sealed_pool()
    before = keys_of(pool, PASSPHRASE)
    pool.start("--passphrase-file", path)
    pool.create_object("disk", DISK)
    handles = use(pool)
    unlocked = core(pool, "unlocked", WHOLE)
    for handle in handles:
        handle.shutdown()
    pool.json("object", "show", "disk")
    pool.coffer("lock")
    locked = core(pool, "locked", WHOLE)
    pool.stop(check_resident=False)  # a core makes all memory resident
    keys = keys_of(pool, PASSPHRASE)
    assert len(marks_in(unlocked)) > 1000, "the look finds no data where it is"
    assert {"dek", "log", "pool", "segment-tag"} <= raw_in(unlocked, before | keys), "the look finds no keys"
    left = marks_in(locked)
    assert not left, f"{len(left)} pieces of data are left after the lock: {left[:3]}"
    leaked = raw_in(locked, keys)
    assert not leaked, f"after the lock there is {sorted(leaked)}"
    print(f"nothing in a core of {len(locked) // MIB} MiB; before the lock {len(unlocked) // MIB} MiB")


if __name__ == "__main__":
    main()
