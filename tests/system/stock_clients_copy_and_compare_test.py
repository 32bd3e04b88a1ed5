#!/usr/bin/python3
"""nbdinfo, nbdcopy and qemu-img see an object as the disk that it is, before and after a kill."""
import json
import os
import random

import nbd

from coffer import BLOCK, MIB, Pool, connect, need, run

SIZE = 96 * MIB


def make_image(path):
    source = random.Random(3)
    shared = source.randbytes(64 * 1024)
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for offset in range(0, SIZE, 4 * MIB):
            file.seek(offset)
            file.write(source.randbytes(MIB) + shared * 8 + b"some text that compresses " * 20000)


def information_is_right(pool):
    disk = json.loads(run("nbdinfo", "--json", "--no-content", pool.uri("disk")))["exports"][0]
    assert disk["export-size"] == SIZE, disk
    for ability in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn", "can_cache", "can_df"):
        assert disk[ability], ability
    listed = json.loads(run("nbdinfo", "--json", "--list", f"nbd+unix:///?socket={pool.socket}"))["exports"]
    assert sorted(export["export-name"] for export in listed) == ["disk", "other"], listed


def map_is_right(pool):
    handle = connect(pool, "disk")
    handle.zero(MIB, 0)
    handle.pwrite(b"x" * BLOCK, 8 * BLOCK)
    handle.trim(BLOCK, 8 * BLOCK)
    handle.pwrite(b"y" * BLOCK, 9 * BLOCK)
    runs = []
    handle.block_status(MIB, 0, lambda _context, _offset, entries, _error: runs.extend(entries) or 0)
    covered, hole = 0, nbd.STATE_HOLE | nbd.STATE_ZERO
    for length, flags in zip(runs[::2], runs[1::2]):
        data = covered <= 9 * BLOCK < covered + length
        assert data or flags == hole, (covered, length, flags)
        assert not data or (flags == 0 and length == BLOCK), (covered, length, flags)
        covered += length
    assert covered >= MIB, runs
    handle.shutdown()


def main():
    need("nbdinfo", "nbdcopy", "qemu-img")
    pool = Pool("1G").start()
    image, back = os.path.join(pool.base, "image"), os.path.join(pool.base, "back")
    make_image(image)
    for name in ("disk", "other"):
        pool.create_object(name, SIZE)
    information_is_right(pool)
    run("nbdcopy", "--flush", image, pool.uri("disk"))
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8", image, pool.uri("other"))
    pool.kill()
    pool.start()
    run("nbdcopy", "--connections=4", "--requests=64", pool.uri("disk"), back)
    run("cmp", image, back)
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, pool.uri("other"))
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", pool.uri("disk"), pool.uri("other"))
    map_is_right(pool)
    pool.stop()
    pool.check()


if __name__ == "__main__":
    main()
