#!/usr/bin/python3
"""Devices that are not what the pool left: each is refused with a sentence, and once the right one is back, nothing is
lost. A damaged copy of the superblock is none of them: the others serve."""
import os
import random
import shutil
import unittest

from coffer import BLOCK, COFFER, KIB, MIB, Pool, connect, copy_sparse

DATA = random.Random(9).randbytes(4 * MIB)
SUPERBLOCK = 128 * KIB
REFUSED, FAILED = 3, 1


def superblocks(size):
    tail = size - MIB
    return [0, SUPERBLOCK, tail, tail + SUPERBLOCK]


def spoil(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset + 200)
        held = file.read(64)
        file.seek(offset + 200)
        file.write(bytes(byte ^ 0xff for byte in held))


class WrongDevices(unittest.TestCase):
    def setUp(self):
        self.pool = Pool("512M").start()
        self.pool.create_object("disk", 64 * MIB)
        self.write(DATA)
        self.pool.stop()
        self.disk = self.pool.disk
        self.saved = os.path.join(self.pool.base, "saved")

    def tearDown(self):
        self.pool.remove()

    def write(self, data):
        handle = connect(self.pool, "disk")
        handle.pwrite(data, 0)
        handle.shutdown()

    def serves(self, data=DATA):
        self.pool.start()
        handle = connect(self.pool, "disk")
        self.assertEqual(bytes(handle.pread(len(data), 0)), data)
        handle.shutdown()
        self.pool.stop()
        self.pool.check()

    def save(self):
        copy_sparse(self.disk, self.saved)

    def restore(self):
        os.replace(self.saved, self.disk)

    def refused(self, *words, status=None):
        said = self.pool.start_refused(status=status)
        for word in words:
            self.assertIn(word, said)

    def test_a_device_that_is_not_coffers(self):
        self.save()
        with open(self.disk, "r+b") as file:
            for offset in superblocks(os.path.getsize(self.disk)):
                file.seek(offset)
                file.write(bytes(SUPERBLOCK))
        self.refused(self.disk, "carries no Coffer superblock", status=FAILED)
        with open(self.disk, "r+b") as file:
            file.write(random.Random(12).randbytes(4 * MIB))
            file.seek(-2 * MIB, os.SEEK_END)
            file.write(random.Random(13).randbytes(2 * MIB))
        self.refused(self.disk, "carries no Coffer superblock", status=FAILED)
        os.truncate(self.disk, 0)
        self.refused(self.disk, "is empty (0 bytes)")
        self.restore()
        self.serves()

    def test_a_device_that_is_missing(self):
        disk = self.disk
        os.rename(disk, self.saved)
        self.refused(disk, "No such file", status=FAILED)
        os.replace(self.saved, disk)
        self.serves()

    def test_a_device_of_another_pool(self):
        other = Pool("512M")
        os.rename(self.disk, self.saved)
        shutil.copy(other.disk, self.disk)
        said = self.pool.start_refused(status=REFUSED)
        self.assertIn(self.disk + " belongs to another pool", said)
        self.assertEqual(said.count(self.disk), 1)
        self.restore()
        self.serves()

    def test_a_truncated_device(self):
        self.save()
        for size in (os.path.getsize(self.disk) - BLOCK, os.path.getsize(self.disk) - 8 * MIB, MIB):
            os.truncate(self.disk, size)
            self.refused(self.disk, "truncated", str(size), status=FAILED)
        self.restore()
        self.serves()

    def test_a_device_rolled_back_to_an_older_image(self):
        self.save()
        self.pool.start()
        newer = random.Random(10).randbytes(4 * MIB)
        self.write(newer)
        self.pool.stop()
        newest = os.path.join(self.pool.base, "newest")
        os.rename(self.disk, newest)
        copy_sparse(self.saved, self.disk)
        self.refused("rolled back", "--accept-rollback", status=REFUSED)
        os.replace(newest, self.disk)
        self.serves(newer)

    def test_a_roll_back_that_was_accepted_goes_on_from_there(self):
        self.save()
        self.pool.start()
        self.write(bytes(MIB))
        self.pool.stop()
        self.restore()
        self.pool.start("--accept-rollback")
        self.pool.stop()
        self.serves()

    def test_one_or_three_damaged_copies_of_the_superblock(self):
        places = superblocks(os.path.getsize(self.disk))
        for damaged in ([0], [1], [2], [3], [0, 1, 2], [1, 2, 3], [0, 2, 3]):
            with self.subTest(damaged=damaged):
                for number in damaged:
                    spoil(self.disk, places[number])
                self.serves()

    def test_all_copies_of_the_superblock_damaged(self):
        self.save()
        for offset in superblocks(os.path.getsize(self.disk)):
            spoil(self.disk, offset)
        self.refused("damaged", self.disk, status=FAILED)
        self.restore()
        self.serves()

    def test_one_device_of_three_without_superblocks_is_named_and_mended(self):
        self.pool.remove()
        base = Pool(None, create=False)
        disks = [os.path.join(base.base, f"disk{number}") for number in range(3)]
        for disk in disks:
            with open(disk, "wb") as file:
                file.truncate(256 * MIB)
        base.run(COFFER, "create", base.directory, "--group", "g1=" + ",".join(disks))
        self.pool = base.start()
        self.pool.create_object("disk", 64 * MIB)
        self.write(DATA)
        self.pool.stop()
        noise = random.Random(11)
        with open(disks[1], "r+b") as file:
            for offset in superblocks(256 * MIB):
                file.seek(offset)
                file.write(noise.randbytes(SUPERBLOCK))
        self.refused(disks[1], "check", "--repair", status=FAILED)
        self.assertIn("--repair", self.pool.refused("check", self.pool.directory, status=FAILED))
        self.pool.run(COFFER, "check", self.pool.directory, "--repair")
        self.serves()

    def test_a_device_in_use_by_another_daemon(self):
        self.pool.start()
        first = self.pool.daemon
        control, nbd = (os.path.join(self.pool.base, name) for name in ("c", "n"))
        said = self.pool.start_refused("--control", control, "--nbd", "unix:" + nbd, status=REFUSED)
        self.assertIn("in use", said)
        self.pool.daemon = first
        self.pool.stop()
        self.serves()

    def test_the_checker_refuses_a_pool_that_is_served(self):
        self.pool.start()
        self.assertIn("in use", self.pool.refused("check", self.pool.directory, status=REFUSED))
        self.pool.stop()

    def test_a_device_that_carries_something_or_is_too_small_makes_no_pool(self):
        disk = os.path.join(self.pool.base, "new")
        directory = os.path.join(self.pool.base, "second")
        with open(disk, "wb") as file:
            file.truncate(64 * MIB)
        said = self.pool.refused("create", directory, "--group", "g1=" + disk)
        self.assertIn(disk, said)
        self.assertIn("64 MiB is too small: at least 130 MiB", said)
        os.truncate(disk, 512 * MIB)
        with open(disk, "r+b") as file:
            file.seek(1080)
            file.write(b"\x53\xef")
        shutil.copy(self.disk, disk)
        self.assertIn(disk, self.pool.refused("create", directory, "--group", "g1=" + disk, status=REFUSED))
        self.assertFalse(os.path.exists(directory))
        self.serves()

    def test_damage_inside_is_an_error_of_those_blocks_only(self):
        self.pool.start()
        handle = connect(self.pool, "disk")
        handle.pwrite(bytes(range(256)) * 16, 32 * MIB)
        handle.shutdown()
        self.pool.stop()
        size = os.path.getsize(self.disk)
        with open(self.disk, "r+b") as file:
            for offset in range(MIB + 64 * KIB, size - MIB, 4 * MIB):  # in each segment, at the same place
                try:
                    if os.lseek(file.fileno(), offset, os.SEEK_DATA) != offset:
                        continue
                except OSError:
                    break
                file.seek(offset)
                held = file.read(BLOCK)
                file.seek(offset)
                file.write(bytes(byte ^ 1 for byte in held))
        before = os.path.getsize(self.pool.messages)
        self.pool.launch()
        if self.pool.daemon.poll() is None:
            self.damaged_reads_are_errors_or_true()
        with open(self.pool.messages) as file:
            file.seek(before)
            self.assertIn("damaged", file.read())

    def damaged_reads_are_errors_or_true(self):
        import nbd
        import time
        while not self.pool.answers():
            if self.pool.daemon.poll() is not None:
                return
            time.sleep(0.01)
        handle = connect(self.pool, "disk")
        errors = 0
        for offset in range(0, len(DATA), BLOCK):
            try:
                self.assertEqual(bytes(handle.pread(BLOCK, offset)), DATA[offset:offset + BLOCK])
            except nbd.Error as error:
                self.assertEqual(error.errno, "EIO")
                errors += 1
        self.assertGreater(errors, 0)
        self.assertLess(errors, len(DATA) // BLOCK // 2)


if __name__ == "__main__":
    unittest.main()
