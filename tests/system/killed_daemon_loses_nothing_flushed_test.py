#!/usr/bin/python3
"""kill -9 under writes from several connections, each of which flushes for all: after the restart every block holds its
last flushed content or a later one, whole, and what was read then stays."""
import os
import random
import sys
import threading
import time

import nbd

from coffer import BLOCK, Pool, connect

ROUNDS = 12
CONNECTIONS = 4
BLOCKS = 2048  # of each connection


def content(serial, block):
    if serial == 0:
        return bytes(BLOCK)
    return random.Random(serial * BLOCKS + block).randbytes(1024) + serial.to_bytes(8, "big") * 384


class Writer(threading.Thread):
    """Owns a stripe of blocks. `allowed` is what each may hold after a crash; a flush of any connection begun after an
    answer makes it the least."""

    def __init__(self, pool, index, flushes, seed):
        super().__init__()
        self.pool, self.index, self.flushes = pool, index, flushes
        self.random = random.Random(seed)
        self.allowed = [[0] for _ in range(BLOCKS)]
        self.answered = []  # block, serial, time of the answer
        self.serial = 0

    def run(self):
        try:
            handle = connect(self.pool, "disk")
            while True:
                self.step(handle)
        except nbd.Error:
            pass  # killed

    def step(self, handle):
        first = self.random.randrange(BLOCKS)
        count = min(self.random.choice([1, 1, 1, 4, 32]), BLOCKS - first)
        self.serial += 1
        for block in range(first, first + count):
            self.allowed[block].append(self.serial)
        data = b"".join(content(self.serial, block) for block in range(first, first + count))
        handle.pwrite(data, (self.index * BLOCKS + first) * BLOCK)
        now = time.monotonic()
        for block in range(first, first + count):
            self.answered.append((block, self.serial, now))
        if self.random.random() < 0.05:
            begun = time.monotonic()
            handle.flush()
            self.flushes.append(begun)

    def settle(self):
        """The last content answered before the last flush began is the least."""
        flushed = max(self.flushes, default=0)
        for block, serial, when in self.answered:
            if when < flushed:
                self.allowed[block] = [s for s in self.allowed[block] if s >= serial]
        self.answered = []

    def compare(self, handle):
        for first in range(0, BLOCKS, 256):
            data = handle.pread(256 * BLOCK, (self.index * BLOCKS + first) * BLOCK)
            for block in range(first, first + 256):
                held = bytes(data[(block - first) * BLOCK:(block - first + 1) * BLOCK])
                found = [s for s in self.allowed[block] if content(s, block) == held]
                assert found, f"block {block} of writer {self.index} holds neither its flushed nor a later content"
                self.allowed[block] = found[-1:]


def work(pool, writers, flushes, seconds):
    fresh = []
    for old in writers:
        writer = Writer(pool, old.index, flushes, random.random())
        writer.allowed, writer.serial = old.allowed, old.serial
        fresh.append(writer)
        writer.start()
    time.sleep(seconds)
    pool.kill()
    for writer in fresh:
        writer.join()
        writer.settle()
    return fresh


def main():
    random.seed(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    pool = Pool("2G").start()
    pool.create_object("disk", CONNECTIONS * BLOCKS * BLOCK)
    writers = [Writer(pool, index, [], 0) for index in range(CONNECTIONS)]
    for number in range(ROUNDS):
        flushes = []
        writers = work(pool, writers, flushes, random.uniform(0.05, 0.8))
        pool.start()
        handle = connect(pool, "disk")
        assert handle.can_multi_conn()
        for writer in writers:
            writer.compare(handle)
        if number % 4 == 3:  # what was read stays, whatever else was not flushed
            pool.kill()
            pool.start()
            handle = connect(pool, "disk")
            for writer in writers:
                writer.compare(handle)
        handle.shutdown()
    pool.stop()
    pool.check()
    print(f"{ROUNDS} rounds, {sum(writer.serial for writer in writers)} writes")


if __name__ == "__main__":
    main()
