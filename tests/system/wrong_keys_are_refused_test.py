#!/usr/bin/python3
"""A wrong passphrase or key file opens nothing and harms nothing; without one the daemon starts locked."""
import fcntl
import os
import time
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

    def test_a_key_file_that_comes_later_opens_the_pool_by_itself(self):
        pool = Pool("512M").start()
        self.fill(pool)
        pool.stop()
        path, away = self.key_file(pool), os.path.join(pool.base, "away")
        os.rename(path, away)
        self.assertIn(path, pool.refused("check", pool.directory, status=REFUSED))
        pool.start()
        self.assertTrue(pool.status()["locked"] and pool.status()["awaits_key"])
        self.assertIn("no key file", pool.health()["LOCKED"]["evidence"])
        self.assertIn(path, pool.refused("unlock", status=REFUSED))
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")
        os.rename(away, path)
        self.until(lambda: not pool.status()["locked"])
        self.serves(pool)
        pool.coffer("lock")  # that is a person's word: it stays, although the key is there
        time.sleep(5)
        self.assertTrue(pool.status()["locked"] and not pool.status()["awaits_key"])
        pool.coffer("unlock")
        self.serves(pool)
        pool.stop()

    def test_who_unlocks_and_locks_while_the_key_is_awaited_has_the_last_word(self):
        pool = Pool("512M")
        path, away = self.key_file(pool), os.path.join(pool.base, "away")
        os.rename(path, away)
        pool.start()
        time.sleep(4)  # between two looks, of which the next is seconds away
        os.rename(away, path)
        pool.coffer("unlock")
        pool.coffer("lock")
        time.sleep(6)
        self.assertTrue(pool.status()["locked"])
        pool.stop()

    def test_a_key_that_comes_and_is_wrong_is_told_and_waited_for_no_more(self):
        pool, other = Pool("512M"), Pool("512M")
        path = self.key_file(pool)
        os.unlink(path)
        pool.start()
        os.rename(self.key_file(other), path)
        self.until(lambda: "the pool stays locked: type" in pool.last_messages())
        self.assertTrue(pool.status()["locked"] and not pool.status()["awaits_key"])
        self.assertNotIn("looked for", pool.health()["LOCKED"]["evidence"])
        self.assertIn("locked: type `coffer -C", pool.coffer("status"))
        pool.stop()

    def test_a_key_that_is_still_being_copied_and_open_to_others_opens_the_pool_once_it_is_right(self):
        pool = Pool("512M").start()
        self.fill(pool)
        pool.stop()
        path = self.key_file(pool)
        with open(path, "rb") as file:
            key = file.read()
        os.unlink(path)
        pool.start()
        self.write(path, key[:-20], 0o600)
        self.until(lambda: path + " is damaged" in pool.last_messages())
        time.sleep(3)  # another look, which says nothing new
        self.assertTrue(pool.status()["locked"] and pool.status()["awaits_key"])
        self.write(path, key, 0o644)
        self.until(lambda: "chmod go= " + path in pool.last_messages())
        self.assertEqual(pool.last_messages().count(" is damaged"), 1)
        self.assertTrue(pool.status()["awaits_key"])
        os.chmod(path, 0o600)
        self.until(lambda: not pool.status()["locked"])
        self.serves(pool)
        pool.stop()

    def test_devices_that_somebody_holds_when_the_key_comes_are_waited_for(self):
        pool = Pool("512M")
        path, away = self.key_file(pool), os.path.join(pool.base, "away")
        os.rename(path, away)
        pool.start()
        with open(pool.disk, "rb") as disk:
            fcntl.flock(disk, fcntl.LOCK_EX)
            os.rename(away, path)
            self.until(lambda: "is in use by another process" in pool.last_messages())
            self.assertTrue(pool.status()["awaits_key"])
        self.until(lambda: not pool.status()["locked"])
        pool.stop()

    def write(self, path, content, mode):
        with open(path + ".new", "wb") as file:
            file.write(content)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)

    def test_a_sealed_key_that_comes_later_still_needs_its_passphrase(self):
        pool = self.sealed()
        path, away = self.key_file(pool), os.path.join(pool.base, "away")
        os.rename(path, away)
        pool.start()  # nothing would open it, so nothing is awaited
        self.assertFalse(pool.status()["awaits_key"])
        self.assertIn(path, pool.refused("unlock", "--passphrase-file", self.right, status=REFUSED))
        pool.stop()
        pool.start("--passphrase-file", self.right)
        self.assertTrue(pool.status()["awaits_key"])
        os.rename(away, path)
        self.until(lambda: not pool.status()["locked"])
        pool.stop()

    def until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_the_key_file_of_another_pool_and_a_damaged_one(self):
        pool, other = Pool("512M").start(), Pool("512M")
        self.fill(pool)
        pool.stop()
        path = self.key_file(pool)
        with open(path, "rb") as file:
            own = file.read()
        with open(self.key_file(other), "rb") as file:
            foreign = file.read()
        for bad, words in ((foreign, "has another id"), (own[:-20], "damaged"), (b"", "damaged"),
                           (b"\x00" * 400, "damaged")):
            with open(path, "wb") as file:
                file.write(bad)
            said = pool.start_refused()
            self.assertIn(path, said)
            self.assertIn(words, said)
        os.unlink(path)
        with open(path, "wb") as file:
            file.write(own)
        os.chmod(path, 0o644)
        self.assertIn("chmod go= " + path, pool.start_refused(status=REFUSED))
        os.chmod(path, 0o600)
        pool.start()
        self.serves(pool)
        pool.stop()
        pool.check()


if __name__ == "__main__":
    unittest.main()
