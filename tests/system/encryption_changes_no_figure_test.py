#!/usr/bin/python3
"""With the level fixed, the same data stored with and without encryption gives the same counts and, within half a
percent, the same bytes."""
import os
import random

from coffer import KIB, MIB, Pool, connect

PIECE = 64 * KIB
COUNTS = ("chunks_live", "blocks_mapped", "objects")
BYTES = ("data_stored_bytes", "live_bytes")


def pieces():
    source = random.Random(21)
    shared = [source.randbytes(PIECE) for _ in range(40)]
    for number in range(900):
        kind = number % 3
        if kind == 0:
            yield source.choice(shared)
        elif kind == 1:
            yield source.randbytes(PIECE)
        else:
            words = [source.choice((b"some ", b"words ", b"of ", b"text ")) for _ in range(PIECE // 3)]
            yield b"".join(words)[:PIECE]


def stored(*options):
    pool = Pool("512M", *options)
    with open(os.path.join(pool.directory, "coffer.conf"), "a") as file:
        file.write("\n[pool]\ncompression = zstd-1\n")
    pool.start()
    pool.create_object("disk", 128 * MIB)
    handle = connect(pool, "disk")
    for number, piece in enumerate(pieces()):
        handle.pwrite(piece, number * PIECE)
    handle.flush()
    handle.shutdown()
    hits = pool.status()["chunks_hit"]
    pool.stop()
    pool.start()
    status = pool.status()
    pool.stop()
    pool.remove()
    return hits, status


def compare(*options):
    hits, encrypted = stored(*options)
    plain_hits, plain = stored("--no-encryption", *options)
    assert encrypted["encryption"] and not plain["encryption"]
    assert hits == plain_hits > 3000, (hits, plain_hits)
    for key in COUNTS:
        assert encrypted[key] == plain[key], (key, encrypted[key], plain[key])
    for key in BYTES:
        assert abs(encrypted[key] - plain[key]) <= plain[key] * 0.005, (key, encrypted[key], plain[key])


def main():
    compare()
    compare("--fingerprint", "hmac-sha256")


if __name__ == "__main__":
    main()
