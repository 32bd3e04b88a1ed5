#!/usr/bin/python3
"""A pool whose witness is lost, or older than the disks, is not opened; with --accept-rollback it is, once, and what
was flushed is there. The checker may look without making a witness. A changed witness is refused either way."""
import os
import random
import shutil

from coffer import COFFER, MIB, Pool, connect

REFUSED = 3
DATA = random.Random(21).randbytes(MIB)


def holds_its_data(pool):
    handle = connect(pool, "disk")
    assert bytes(handle.pread(MIB, 0)) == DATA
    handle.pwrite(DATA, MIB)
    handle.flush()
    handle.shutdown()
    pool.stop()


def opens_once_accepted(pool, *options):
    pool.start(*options)
    holds_its_data(pool)
    pool.start()
    holds_its_data(pool)
    pool.check()


def main():
    pool = Pool("200M").start()
    pool.create_object("disk", 64 * MIB)
    handle = connect(pool, "disk")
    handle.pwrite(DATA, 0)
    handle.flush()
    handle.shutdown()
    pool.stop()
    witness, old = os.path.join(pool.directory, "witness"), os.path.join(pool.base, "old")
    shutil.copy(witness, old)

    pool.start()
    holds_its_data(pool)
    shutil.copy(old, witness)
    said = pool.start_refused(status=REFUSED)
    assert "older than the disks" in said and "--accept-rollback" in said, said
    opens_once_accepted(pool, "--accept-rollback")

    os.unlink(witness)
    said = pool.start_refused()
    assert "is lost" in said, said
    pool.run(COFFER, "check", pool.directory, "--accept-rollback")
    assert not os.path.exists(witness), "the checker made a witness"
    opens_once_accepted(pool, "--accept-rollback")

    with open(witness, "r+") as file:
        text = file.read()
        assert '"epoch":' in text
        file.seek(text.index('"epoch":') + len('"epoch":'))
        file.write("9")
    pool.start_refused()
    pool.start_refused("--accept-rollback")


if __name__ == "__main__":
    main()
