#!/usr/bin/python3
"""fio writes checksummed blocks through its nbd engine; killed after the closing flush, and in the middle of what another
fio does, the daemon comes back with all of them. --rounds N does it N times on one pool, --seed N chooses what is written
and when the power goes."""
import argparse
import random
import subprocess
import time

from coffer import MIB, PATIENCE, Pool, need, run

COMMON = ["fio", "--ioengine=nbd", "--iodepth=16", "--verify=crc32c", "--blockalign=512", "--refill_buffers=1",
          "--buffer_compress_percentage=50"]
SIZE = 48 * MIB


def job(pool, seed):
    return [*COMMON, "--name=job", "--rw=randwrite", f"--size={SIZE}", "--bsrange=512-64k", f"--randseed={seed}",
            f"--uri={pool.uri('disk')}"]


class Noise:
    """Another fio, which writes, flushes and compares without an end; what became of it is only asked for when it found
    something wrong. In the moment of the kill it is in the middle of anything."""

    def __init__(self, pool, seed):
        command = [*COMMON, "--name=noise", "--rw=randrw", f"--size={SIZE}", "--bsrange=512-128k", "--time_based",
                   f"--runtime={PATIENCE}", "--fsync=64", "--verify_backlog=256", f"--randseed={seed}",
                   f"--uri={pool.uri('noise')}"]
        self.process = subprocess.Popen(command, cwd=pool.base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self):
        said = self.process.communicate(timeout=PATIENCE)[0]
        assert "verify:" not in said, said


def one_round(pool, dice):
    seed = dice.randrange(1, 1 << 30)
    noise = Noise(pool, seed + 1)
    run(*job(pool, seed), "--do_verify=0", "--end_fsync=1", cwd=pool.base)
    time.sleep(dice.uniform(0, 0.3))
    pool.kill()
    noise.end()
    pool.start()
    run(*job(pool, seed), "--verify_only=1", cwd=pool.base)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    need("fio")
    dice = random.Random(arguments.seed)
    pool = Pool("2G").start()
    for name in ("disk", "noise"):
        pool.create_object(name, SIZE)
    for _ in range(arguments.rounds):
        one_round(pool, dice)
    pool.stop()
    pool.check()
    print(f"{arguments.rounds} kills")


if __name__ == "__main__":
    main()
