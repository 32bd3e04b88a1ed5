#!/usr/bin/python3
"""fio writes checksummed blocks through its nbd engine; killed after the closing flush, the daemon comes back with all
of them."""
from coffer import Pool, need, run

JOB = ["fio", "--name=job", "--ioengine=nbd", "--rw=randwrite", "--size=96M", "--iodepth=16", "--verify=crc32c",
       "--bsrange=512-64k", "--blockalign=512", "--randseed=7", "--buffer_compress_percentage=50",
       "--refill_buffers=1"]


def main():
    need("fio")
    pool = Pool("1G").start()
    pool.create_object("disk", 96 << 20)
    run(*JOB, f"--uri={pool.uri('disk')}", "--do_verify=0", "--end_fsync=1", cwd=pool.base)
    pool.kill()
    pool.start()
    run(*JOB, f"--uri={pool.uri('disk')}", "--verify_only=1", cwd=pool.base)
    pool.stop()
    pool.check()


if __name__ == "__main__":
    main()
