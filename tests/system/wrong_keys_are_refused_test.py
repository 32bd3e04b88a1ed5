#!/usr/bin/python3
"""A wrong passphrase or key file opens nothing and harms nothing; without one the daemon starts locked."""
import os
import unittest

import nbd

from coffer import MIB, Pool, connect

REFUSED = 3


class WrongKeys(unittest.TestCase):
    def passphrase(self, pool, text, name):
        path = os.path.join(pool.base, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def sealed(self):
        pool = Pool(create=False)
        self.right = self.passphrase(pool, "correct horse\n", "right")
        self.wrong = self.passphrase(pool, "battery staple\n", "wrong")
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "passphrase", "--passphrase-file", self.right)
        return pool

    def serves(self, pool):
        handle = connect(pool, "disk")
        self.assertEqual(bytes(handle.pread(4, 0)), b"here")
        handle.shutdown()

    def fill(self, pool):
        pool.create_object("disk", MIB)
        handle = connect(pool, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()

    def test_a_wrong_passphrase(self):
        pool = self.sealed()
        pool.start("--passphrase-file", self.right)
        self.fill(pool)
        pool.stop()
        said = pool.start_refused("--passphrase-file", self.wrong, status=REFUSED)
        self.assertIn("passphrase", said)
        self.assertNotIn("battery", said)
        self.assertIn("passphrase", pool.refused("check", pool.directory, "--passphrase-file", self.wrong,
                                                 status=REFUSED))
        pool.start("--passphrase-file", self.right)
        self.serves(pool)
        pool.stop()
        pool.coffer("check", pool.directory, "--passphrase-file", self.right)

    def test_no_passphrase_starts_locked_until_the_right_one_comes(self):
        pool = self.sealed()
        pool.start("--passphrase-file", self.right)
        self.fill(pool)
        pool.stop()
        pool.start()
        self.assertTrue(pool.status()["locked"])
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")
        pool.refused("unlock", "--passphrase-file", self.wrong, status=REFUSED)
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")
        pool.coffer("unlock", "--passphrase-file", self.right)
        self.serves(pool)
        pool.coffer("lock")
        self.assertTrue(pool.status()["locked"])
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")
        pool.coffer("unlock", "--passphrase-file", self.right)
        self.serves(pool)
        pool.stop()

    def key_file(self, pool):
        return next(path for path in pool.files() if path.endswith(".key"))

    def test_the_key_file_of_another_pool_and_a_damaged_one(self):
        pool, other = Pool("512M").start(), Pool("512M")
        self.fill(pool)
        pool.stop()
        path = self.key_file(pool)
        with open(path, "rb") as file:
            own = file.read()
        with open(self.key_file(other), "rb") as file:
            foreign = file.read()
        for bad in (foreign, own[:-20], b"", b"\x00" * 400):
            with open(path, "wb") as file:
                file.write(bad)
            self.assertIn(path, pool.start_refused())
        with open(path, "wb") as file:
            file.write(own)
        os.chmod(path, 0o644)
        self.assertIn(path, pool.start_refused(status=REFUSED))
        os.chmod(path, 0o600)
        pool.start()
        self.serves(pool)
        pool.stop()
        pool.check()


if __name__ == "__main__":
    unittest.main()
