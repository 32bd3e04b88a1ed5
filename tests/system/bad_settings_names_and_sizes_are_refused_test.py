#!/usr/bin/python3
"""A conf with unknown keys, names that cannot be, impossible sizes: each is refused with a sentence, over the real
socket, and changes nothing."""
import os
import unittest

from coffer import BLOCK, MIB, Pool, connect

USAGE, FAILED, REFUSED = 2, 1, 3


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool("512M").start()
        cls.pool.create_object("disk", MIB)

    @classmethod
    def tearDownClass(cls):
        cls.pool.stop()
        cls.pool.check()

    def names(self):
        return [row["name"] for row in self.pool.json("object", "list")]

    def test_names_that_cannot_be(self):
        for name in ("", "a" * 256, "é" * 128, "tab\there", "line\nbreak", "bell\a", "a@b", "a/b", b"\xff\xfe", "disk"):
            with self.subTest(name=name):
                self.pool.refused("object", "create", name, "--size", "1M")
                if name != "disk":
                    self.pool.refused("object", "rename", "disk", name)
        self.assertEqual(self.names(), ["disk"])

    def test_names_that_can_be(self):
        for name in ("a" * 255, "é" * 127, "with blank", "-dash", "ключ"):
            with self.subTest(name=name):
                self.pool.coffer("object", "create", "--size", "1M", "--", name)
                self.assertIn(name, self.names())
                self.pool.coffer("object", "delete", "--now", "--", name)
        self.assertEqual(self.names(), ["disk"])

    def test_sizes_that_cannot_be(self):
        for size in ("0", "4095", str(BLOCK + 1), "-4096", str((64 << 40) + BLOCK), "65T", "9999999999999999999999",
                     "many", "1.5", "4096X"):
            with self.subTest(size=size):
                self.pool.refused("object", "create", "new", "--size=" + size)
                self.pool.refused("object", "resize", "disk", "--size=" + size)
        self.assertEqual(self.names(), ["disk"])
        self.assertEqual(self.pool.json("object", "show", "disk", "--no-usage")["size"], MIB)

    def test_the_largest_and_the_smallest_object(self):
        for size in (BLOCK, 64 << 40):
            self.pool.create_object("extreme", size)
            handle = connect(self.pool, "extreme")
            self.assertEqual(handle.get_size(), size)
            handle.pwrite(b"end", size - 3)
            self.assertEqual(bytes(handle.pread(3, size - 3)), b"end")
            handle.shutdown()
            self.wait_until_closed("extreme")
            self.pool.coffer("object", "delete", "extreme", "--now")

    def wait_until_closed(self, name):
        import time
        deadline = time.monotonic() + 20
        while self.pool.json("object", "show", name, "--no-usage")["open_count"]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_an_open_object_is_neither_shrunk_nor_deleted(self):
        self.pool.create_object("open", MIB)
        handle = connect(self.pool, "open")
        self.pool.refused("object", "resize", "open", "--size", "4096", "--shrink", status=REFUSED)
        self.pool.refused("object", "delete", "open", status=REFUSED)
        self.pool.refused("object", "delete", "open", "--now", status=REFUSED)
        self.pool.coffer("object", "resize", "open", "--size", "2M")
        handle.shutdown()
        self.wait_until_closed("open")
        self.pool.refused("object", "resize", "open", "--size", "4096")
        self.pool.coffer("object", "resize", "open", "--size", "4096", "--shrink")
        self.pool.coffer("object", "delete", "open", "--now")

    def test_a_shrunk_object_grows_by_zeros(self):
        self.pool.create_object("short", 4 * MIB)
        handle = connect(self.pool, "short")
        handle.pwrite(b"z" * 4 * MIB, 0)
        handle.shutdown()
        self.wait_until_closed("short")
        self.pool.coffer("object", "resize", "short", "--size", "8192", "--shrink")
        self.pool.coffer("object", "resize", "short", "--size", "4M")
        handle = connect(self.pool, "short")
        self.assertEqual(bytes(handle.pread(8192, 0)), b"z" * 8192)
        self.assertEqual(bytes(handle.pread(4 * MIB - 8192, 8192)), bytes(4 * MIB - 8192))
        handle.shutdown()
        self.wait_until_closed("short")
        self.pool.coffer("object", "delete", "short", "--now")


class BadConf(unittest.TestCase):
    def test_unknown_keys_and_values_name_file_and_line(self):
        pool = Pool("512M")
        path = os.path.join(pool.directory, "coffer.conf")
        with open(path) as file:
            good = file.read()
        for line in ("[pool]\nmemroy = 256M", "[pool]\nmemory = lots", "[pool]\nmemory = 1M", "[pol]\nmemory = 256M",
                     "[pool]\nmemory = 256M\nmemory = 256M", "[server]\nnbd = http:x", "no section or key",
                     "[pool]\ncompression = best", "[pool]\nencryption = off"):
            with self.subTest(line=line):
                with open(path, "w") as file:
                    file.write(good + "\n" + line + "\n")
                self.assertIn("coffer.conf", pool.start_refused())
        with open(path, "w") as file:
            file.write(good)
        pool.start()
        pool.stop()


if __name__ == "__main__":
    unittest.main()
