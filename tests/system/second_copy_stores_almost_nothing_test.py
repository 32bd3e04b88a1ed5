#!/usr/bin/python3
"""A second copy of real files stores under 2 % of the first one's bytes, also after a kill; copied in random pieces of
64 KiB, at least 95 % of its blocks are found."""
import os
import random

from coffer import BLOCK, KIB, MIB, Pool, connect, need, run

SIZE, PIECE = 128 * MIB, 64 * KIB
FOLDERS = ("/usr/bin", "/usr/lib")


def make_image(path):
    """Programs and libraries, each from a block boundary on, as a file system would lay them."""
    with open(path, "wb") as image:
        for folder in FOLDERS:
            for directory, folders, names in os.walk(folder):
                folders.sort()
                for name in sorted(names):
                    source = os.path.join(directory, name)
                    if image.tell() >= SIZE or os.path.islink(source) or not os.access(source, os.R_OK):
                        continue
                    with open(source, "rb") as file:
                        image.write(file.read(SIZE - image.tell()))
                    image.seek((image.tell() + BLOCK - 1) // BLOCK * BLOCK)
        image.truncate(SIZE)


def stored(pool):
    """What is alive once everything was merged."""
    pool.stop()
    pool.start()
    return pool.status()["live_bytes"]


def copy_in_pieces(pool, image):
    order = list(range(0, SIZE, PIECE))
    random.Random(31).shuffle(order)
    before = pool.status()
    handle = connect(pool, "pieces")
    with open(image, "rb") as file:
        for offset in order:
            file.seek(offset)
            handle.pwrite(file.read(PIECE), offset)
    handle.flush()
    handle.shutdown()
    after = pool.status()
    hits, stored_anew = (after[key] - before[key] for key in ("chunks_hit", "chunks_written"))
    return hits / (hits + stored_anew)


def copies(*options):
    pool = Pool("1G", *options).start()
    image = os.path.join(pool.base, "image")
    make_image(image)
    for name in ("first", "second", "pieces"):
        pool.create_object(name, SIZE)
    empty = stored(pool)
    run("nbdcopy", "--flush", image, pool.uri("first"))
    first = stored(pool) - empty
    pool.kill()  # the index is rebuilt
    pool.start()
    run("nbdcopy", "--flush", image, pool.uri("second"))
    second = stored(pool) - empty - first
    found = copy_in_pieces(pool, image)
    for name in ("first", "second", "pieces"):
        back = os.path.join(pool.base, "back")
        run("nbdcopy", pool.uri(name), back)
        run("cmp", image, back)
        os.unlink(back)
    pool.stop()
    pool.check()
    pool.remove()
    print(f"first copy {first} bytes, second {second / first:.2%}, in random pieces {found:.1%} found")
    assert second < first * 0.02
    assert found >= 0.95


def main():
    need("nbdcopy")
    copies()
    copies("--fingerprint", "hmac-sha256")


if __name__ == "__main__":
    main()
