#!/usr/bin/python3
"""The same writes into an encrypted pool and a plaintext twin: no 512-byte sector of the twin stands on the encrypted
device, and the scanner that says so finds what was planted on the twin."""
import hashlib
import mmap
import os
import random

from coffer import BLOCK, KIB, MIB, Pool, connect

AREA, SEGMENT, SECTOR = MIB, 4 * MIB, 512
NAME = "planted-object-name"
TEXT = b"the quick brown fox jumps over the lazy dog %d times and is compressed on its way. "


def marks():
    source = random.Random(11)
    return [source.randbytes(64) for _ in range(50)]


def fill(pool):
    """Marks in random data, which is stored as it is; text; repeated data; partial blocks; a trim."""
    source = random.Random(12)
    handle = connect(pool, NAME)
    for number, mark in enumerate(marks()):
        data = bytearray(source.randbytes(64 * KIB))
        data[1000:1000 + len(mark)] = mark
        handle.pwrite(bytes(data), number * 64 * KIB)
    for number in range(200):
        handle.pwrite((TEXT.replace(b"%d", str(number).encode()) * 1000)[:64 * KIB], 8 * MIB + number * 64 * KIB)
    for number in range(50):
        handle.pwrite(bytes([number + 1]) * BLOCK, 32 * MIB + number * BLOCK)
        handle.pwrite(b"a part of a block", 40 * MIB + number * 5000)
    handle.trim(MIB, 20 * MIB)
    handle.flush()
    handle.shutdown()


def is_clear(offset, size):
    """Superblocks, checkpoint records and segment headers, which are in the clear by design."""
    return offset < AREA or offset >= size - AREA or (offset - AREA) % SEGMENT < BLOCK


def sectors(path):
    found, size, zero = set(), os.path.getsize(path), bytes(SECTOR)
    with open(path, "rb") as file:
        offset = 0
        while True:
            try:
                offset = os.lseek(file.fileno(), offset, os.SEEK_DATA)
            except OSError:
                return found
            file.seek(offset)
            piece = file.read(MIB)
            for at in range(0, len(piece), SECTOR):
                sector = piece[at:at + SECTOR]
                if sector != zero and not is_clear(offset + at, size):
                    found.add(hashlib.blake2b(sector, digest_size=16).digest())
            offset += len(piece)


def contains(path, needles):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as disk:
        return [needle for needle in needles if disk.find(needle) >= 0]


def filled(*options):
    pool = Pool("256M", *options).start()
    pool.create_object(NAME, 64 * MIB)
    fill(pool)
    pool.kill()  # a log that was not merged
    pool.start()
    fill(pool)
    pool.stop()  # and one that was
    pool.check()
    return pool


def compare(*options):
    twin, secret = filled("--no-encryption", *options), filled(*options)
    planted = marks()
    assert contains(twin.disk, planted) == planted, "the scanner does not find what was planted"
    assert contains(secret.disk, planted + [NAME.encode()]) == [], "plaintext stands on the encrypted device"
    clear, dark = sectors(twin.disk), sectors(secret.disk)
    assert len(clear) > 5000 and len(dark) > 5000, f"{len(clear)} and {len(dark)} sectors are too few to tell"
    common = clear & dark
    assert not common, f"{len(common)} sectors of the twin stand on the encrypted device"
    print(f"none of {len(clear)} sectors of the twin among {len(dark)}")
    for pool in (twin, secret):
        pool.remove()


def main():
    compare()
    compare("--fingerprint", "hmac-sha256")


if __name__ == "__main__":
    main()
