#!/usr/bin/python3
"""An ext4 on a loop device over nbdfuse: synced files are there after a kill of the daemon, and the file system is
clean. Skipped where FUSE or loop devices are not to be had."""
import hashlib
import os
import random
import subprocess
import time

from coffer import MIB, Pool, need, run, skip


class Mount:
    """nbdfuse -> loop device -> ext4, taken apart in reverse."""

    def __init__(self, pool):
        self.image = os.path.join(pool.base, "image")
        self.directory = os.path.join(pool.base, "mount")
        self.loop = None
        self.mounted = False
        for path in (self.image, self.directory):
            os.makedirs(path, exist_ok=True)
        self.fuse = subprocess.Popen(["nbdfuse", self.image, pool.uri("disk")], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL)
        self.file = os.path.join(self.image, "nbd")
        deadline = time.monotonic() + 20
        while not os.path.exists(self.file):
            if self.fuse.poll() is not None or time.monotonic() > deadline:
                self.end()
                skip("nbdfuse cannot mount here")
            time.sleep(0.02)

    def attach(self):
        result = subprocess.run(["losetup", "--find", "--show", self.file], capture_output=True, text=True)
        if result.returncode != 0:
            self.end()
            skip("no loop devices here: " + result.stderr.strip())
        self.loop = result.stdout.strip()

    def mount(self):
        run("mount", "-t", "ext4", self.loop, self.directory)
        self.mounted = True

    def unmount(self):
        run("umount", self.directory)
        self.mounted = False

    def end(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.directory], capture_output=True)
        if self.loop is not None:
            subprocess.run(["losetup", "--detach", self.loop], capture_output=True)
        subprocess.run(["umount", "-l", self.image], capture_output=True)
        self.fuse.kill()
        self.fuse.wait()


def digest(path):
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read()).digest()


def write_files(directory):
    source, digests = random.Random(5), {}
    for number in range(40):
        path = os.path.join(directory, f"file{number}")
        with open(path, "wb") as file:
            file.write(source.randbytes(source.randrange(1, MIB)))
            file.flush()
            os.fsync(file.fileno())
        digests[path] = digest(path)
    return digests


def first_life(pool):
    mount = Mount(pool)
    try:
        mount.attach()
        run("mkfs.ext4", "-q", "-F", mount.loop)
        mount.mount()
        digests = write_files(mount.directory)
        pool.kill()
        return digests
    finally:
        mount.end()


def second_life(pool, digests):
    mount = Mount(pool)
    try:
        mount.attach()
        mount.mount()
        for path, wanted in digests.items():
            assert digest(path) == wanted, path
        mount.unmount()
        run("e2fsck", "-fn", mount.loop)
    finally:
        mount.end()


def main():
    need("nbdfuse", "losetup", "mkfs.ext4", "e2fsck", "mount")
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        skip("needs root and FUSE")
    pool = Pool("1G").start()
    pool.create_object("disk", 256 * MIB)
    digests = first_life(pool)
    pool.start()
    second_life(pool, digests)
    pool.stop()
    pool.check()


if __name__ == "__main__":
    main()
