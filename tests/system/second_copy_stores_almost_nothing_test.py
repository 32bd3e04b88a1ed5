#!/usr/bin/python3
"""A second copy of real files stores under 2 % of the first one's bytes; of a third one, written in random pieces of 64
KiB, at least 95 % of the blocks are found. All of them are there after a kill."""
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


def new_pool(*options):
    pool = Pool("1G", *options)
    with open(os.path.join(pool.directory, "coffer.conf"), "a") as conf:
        conf.write("\n[pool]\ncompression = zstd-1\n")
    pool.start()
    for name in ("first", "second", "pieces"):
        pool.create_object(name, SIZE)
    return pool


def one_copy(image, *options):
    pool = new_pool(*options)
    empty = stored(pool)
    run("nbdcopy", "--flush", image, pool.uri("first"))
    full = stored(pool)
    pool.remove()
    return empty, full


def compare_all(pool, image):
    back = os.path.join(pool.base, "back")
    for name in ("first", "second", "pieces"):
        run("nbdcopy", pool.uri(name), back)
        run("cmp", image, back)
        os.unlink(back)


def copies(image, *options):
    """All copies within one life of the daemon: after a start the index is filled in the background, and how much of it
    a copy meets would be a matter of time."""
    empty, one = one_copy(image, *options)
    pool = new_pool(*options)
    for name in ("first", "second"):
        run("nbdcopy", "--flush", image, pool.uri(name))
    found = copy_in_pieces(pool, image)
    pool.kill()
    pool.start()
    compare_all(pool, image)
    three = stored(pool)
    pool.stop()
    pool.check()
    pool.remove()
    more = (three - one) / (one - empty)
    print(f"first copy {one - empty} bytes, two more {more:.2%}, in random pieces {found:.1%} found")
    assert found >= 0.95
    assert more < 0.02 + 1 - found


def main():
    need("nbdcopy")
    place = Pool(create=False)
    image = os.path.join(place.base, "image")
    make_image(image)
    copies(image)
    copies(image, "--fingerprint", "hmac-sha256")


if __name__ == "__main__":
    main()
