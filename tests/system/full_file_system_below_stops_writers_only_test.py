#!/usr/bin/python3
"""The file system below a sparse file is full: writers get ENOSPC, flushes and reads go on, status and health say so;
when it has room again writes go on without a restart, and nothing that was flushed is lost."""
import atexit
import os
import random
import subprocess
import time

import nbd

from coffer import COFFER, MIB, PATIENCE, Pool, connect, need, skip

PIECES_MAX = 500  # MiB: more than the file system has, less than the pool


def piece(number):
    return random.Random(number).randbytes(MIB)


def mount(place):
    os.mkdir(place)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300M", "tmpfs", place], capture_output=True).returncode != 0:
        skip("nothing can be mounted here")
    atexit.register(subprocess.run, ["umount", "-l", place])


def fill(handle):
    try:
        for number in range(PIECES_MAX):
            handle.pwrite(piece(number), number * MIB)
    except nbd.Error as error:
        assert error.errno == "ENOSPC", error.string
        return number
    raise AssertionError(f"{PIECES_MAX} MiB went into a file system of 300")


def compare(handle, count):
    for number in range(count):
        assert bytes(handle.pread(MIB, number * MIB)) == piece(number), f"piece {number} is not what was written"


def space(pool):
    """The health check of that name; `health` ends with 1 where one is an error."""
    result = subprocess.run([COFFER, "-C", pool.directory, "health"], capture_output=True, text=True, timeout=PATIENCE,
                            env=pool.environment)
    return next(line for line in result.stdout.splitlines() if line.startswith("SPACE "))


def main():
    need("mount", "umount")
    pool = Pool(create=False)
    below = os.path.join(pool.base, "below")
    mount(below)
    pool.directory = os.path.join(below, "pool")
    pool.run(COFFER, "create", pool.directory, "--size", "1G")
    pool.start()
    pool.create_object("disk", 2048 * MIB)
    handle = connect(pool, "disk")
    written = fill(handle)
    handle.flush()
    compare(handle, written)
    assert pool.status()["below_full"] and not pool.status()["fenced"]
    assert "the file system below is full" in pool.coffer("status")
    said = pool.refused("object", "create", "other", "--size", "1G")
    assert "the file system below" in said and "health" in said, said
    assert "error" in space(pool) and "the file system below is full" in space(pool)

    subprocess.run(["mount", "-o", "remount,size=900M", below], check=True)
    deadline = time.monotonic() + 60
    while True:
        try:
            handle.pwrite(piece(written), written * MIB)
            break
        except nbd.Error as error:
            assert error.errno == "ENOSPC", error.string
            assert time.monotonic() < deadline, "room below does not help"
            time.sleep(0.1)
    handle.flush()
    while " ok " not in space(pool):  # the keeper asks the file system again some times a second
        assert time.monotonic() < deadline, space(pool)
        time.sleep(0.1)
    handle.shutdown()
    pool.kill()
    pool.start()
    handle = connect(pool, "disk")
    compare(handle, written + 1)
    handle.shutdown()
    pool.stop()
    pool.check()
    print(f"full at {written} MiB of 300")


if __name__ == "__main__":
    main()
