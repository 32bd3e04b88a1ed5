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
        control, long = "control characters", "at most 255 bytes"
        for name, words in (("", "not be empty"), ("a" * 256, long), ("é" * 128, long), ("tab\there", control),
                            ("line\nbreak", control), ("bell\a", control), ("\u0085", control), ("a@b", "'@'"),
                            ("a/b", "'/'"), (b"\xff\xfe", "UTF-8"), ("disk", "exists already")):
            with self.subTest(name=name):
                self.assertIn(words, self.pool.refused("object", "create", name, "--size", "1M"))
                if name != "disk":
                    self.assertIn(words, self.pool.refused("object", "rename", "disk", name))
        self.assertEqual(self.names(), ["disk"])

    def test_names_that_can_be(self):
        for name in ("a" * 255, "é" * 127, "with blank", "-dash", "ключ"):
            with self.subTest(name=name):
                self.pool.coffer("object", "create", "--size", "1M", "--", name)
                self.assertIn(name, self.names())
                self.pool.coffer("object", "delete", "--now", "--", name)
        self.assertEqual(self.names(), ["disk"])

    def test_sizes_that_cannot_be(self):
        unaligned, beyond, none = "multiple of 4096", "at most 64 TiB", "is not a size"
        for size, words in (("0", "size 0"), ("4095", unaligned), (str(BLOCK + 1), unaligned), ("-4096", none),
                            (str((64 << 40) + BLOCK), beyond), ("65T", beyond), ("9999999999999999999999", none),
                            ("many", none), ("1.5", none), ("4096X", none)):
            with self.subTest(size=size):
                self.assertIn(words, self.pool.refused("object", "create", "new", "--size=" + size))
                self.assertIn(words, self.pool.refused("object", "resize", "disk", "--size=" + size))
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
        for line, words in (("[pool]\nmemroy = 256M", 'unknown key "memroy" in [pool]'),
                            ("[pool]\nmemory = lots", "is not a size"), ("[pool]\nmemory = 1M", "from 64M to 16T"),
                            ("[pol]\nmemory = 256M", "unknown section [pol]"),
                            ("[pool]\nmemory = 256M\nmemory = 256M", "a second time"),
                            ("[server]\nnbd = http:x", "neither unix:PATH nor tcp:"), ("no section or key", "neither"),
                            ("[pool]\ncompression = best", "none of: auto"),
                            ("[pool]\nencryption = off", "a second time")):
            with self.subTest(line=line):
                with open(path, "w") as file:
                    file.write(good + "\n" + line + "\n")
                number = (good + "\n" + line).count("\n") + 1 - ("unknown section" in words)
                said = pool.start_refused()
                self.assertIn(f"coffer.conf:{number}: ", said)
                self.assertIn(words, said)
        with open(path, "w") as file:
            file.write(good)
        pool.start()
        pool.stop()


if __name__ == "__main__":
    unittest.main()
