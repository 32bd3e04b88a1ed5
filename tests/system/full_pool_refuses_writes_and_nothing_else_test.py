#!/usr/bin/python3
"""A full pool: writers get ENOSPC, reads go on, deletes give the space back, and nothing that was flushed is lost, also
not by a kill."""
import random
import time

import nbd

from coffer import MIB, Pool, connect

PIECE = MIB


def piece(number):
    return random.Random(number).randbytes(PIECE)


def fill(handle, first):
    """Writes until there is no space; returns how many pieces were written and flushed."""
    number = first
    try:
        while True:
            handle.pwrite(piece(number), number * PIECE)
            number += 1
    except nbd.Error as error:
        assert error.errno == "ENOSPC", error.string
    assert number > first + 50, f"full after {number} MiB"
    handle.flush()
    return number


def compare(handle, numbers):
    for number in numbers:
        assert bytes(handle.pread(PIECE, number * PIECE)) == piece(number), f"piece {number} is not what was written"


def main():
    pool = Pool("400M").start()
    for name in ("victim", "disk"):
        pool.create_object(name, 4096 * MIB)
    victim = connect(pool, "victim")
    for number in range(1000, 1100):
        victim.pwrite(piece(number), (number - 1000) * PIECE)
    victim.flush()
    victim.shutdown()
    pool.coffer("object", "snapshot", "victim", "--name", "s")
    handle = connect(pool, "disk")
    written = fill(handle, 0)
    assert pool.last_messages().count("the pool is full") == 1, pool.last_messages()
    compare(handle, range(written))
    handle.trim(PIECE, 0)
    assert bytes(handle.pread(PIECE, 0)) == bytes(PIECE)
    handle.flush()
    handle.shutdown()
    pool.coffer("object", "rollback", "victim@s")
    pool.kill()
    pool.start()
    handle = connect(pool, "disk")
    compare(handle, range(1, written))
    pool.coffer("object", "delete", "victim", "--now")
    deadline, more = time.monotonic() + 60, written
    while more < written + 60:
        try:
            handle.pwrite(piece(more), more * PIECE)
            more += 1
        except nbd.Error as error:
            assert error.errno == "ENOSPC", error.string
            assert time.monotonic() < deadline, "a delete gave nothing back"
            time.sleep(0.2)
    handle.flush()
    compare(handle, range(1, more))
    handle.shutdown()
    pool.stop()
    pool.check()
    print(f"full at {written} MiB of 400")


if __name__ == "__main__":
    main()
