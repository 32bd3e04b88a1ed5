#!/usr/bin/python3
"""A wrong passphrase or key file opens nothing and harms nothing; without the right one the daemon starts locked."""
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
        pool.start("--passphrase-file", self.wrong)
        self.locked_for(pool, "wrong passphrase", awaits=False)  # to try it again would cost scrypt's time and memory
        self.assertNotIn("battery", pool.last_messages())
        pool.refused("unlock", "--passphrase-file", self.wrong, status=REFUSED)
        pool.coffer("unlock", "--passphrase-file", self.right)
        self.assertEqual(pool.status()["why_locked"], "")
        self.serves(pool)
        pool.stop()
        self.assertIn("passphrase", pool.refused("check", pool.directory, "--passphrase-file", self.wrong,
                                                 status=REFUSED))
        pool.start("--passphrase-file", self.right)
        self.serves(pool)
        pool.stop()
        pool.coffer("check", pool.directory, "--passphrase-file", self.right)

    def locked_for(self, pool, words, awaits):
        """Alive and locked, and whoever asks is told why and what helps."""
        status = pool.status()
        self.assertTrue(status["locked"])
        self.assertEqual(status["awaits_key"], awaits)
        self.assertIn(words, status["why_locked"])
        self.assertIn(words, pool.last_messages())
        health = pool.health()["LOCKED"]
        self.assertEqual(health["severity"], "error")
        self.assertIn(words, health["evidence"])
        self.assertEqual("tried again" in health["evidence"], awaits)
        self.assertIn("unlock", health["command"])
        self.assertIn(words, pool.coffer("status"))
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")

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
        self.locked_for(pool, "there is no " + path, awaits=True)
        self.assertIn(path, pool.refused("unlock", status=REFUSED))
        os.rename(away, path)
        self.until(lambda: not pool.status()["locked"])
        self.serves(pool)
        pool.coffer("lock")  # that is a person's word: it stays, although the key is there
        time.sleep(5)
        self.assertTrue(pool.status()["locked"] and not pool.status()["awaits_key"])
        self.assertEqual(pool.status()["why_locked"], "")
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

    def test_a_key_that_comes_and_is_wrong_is_told_and_the_right_one_still_opens_the_pool(self):
        pool, other = Pool("512M").start(), Pool("512M")
        self.fill(pool)
        pool.stop()
        path, away = self.key_file(pool), os.path.join(pool.base, "away")
        os.rename(path, away)
        pool.start()
        os.rename(self.key_file(other), path)
        self.until(lambda: "is the key of another pool" in pool.last_messages())
        self.until(lambda: "is the key of another pool" in pool.status()["why_locked"])
        self.locked_for(pool, path, awaits=True)
        self.assertIn("is the key of another pool", pool.refused("unlock"))
        os.replace(away, path)
        self.until(lambda: not pool.status()["locked"])
        self.serves(pool)
        pool.stop()

    def test_disks_that_are_at_fault_end_the_daemon_whatever_the_key(self):
        pool = Pool("512M")
        path, away = self.key_file(pool), os.path.join(pool.base, "away")
        with open(pool.disk, "r+b") as disk:
            size = os.path.getsize(pool.disk)
            for begin in (0, size - (1 << 20)):
                disk.seek(begin)
                disk.write(bytes(1 << 20))
        pool.start_refused()
        os.rename(path, away)
        pool.start_refused()

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

    def test_a_key_file_that_is_wrong_at_the_start_locks_and_the_right_one_opens(self):
        pool, other = Pool("512M").start(), Pool("512M")
        self.fill(pool)
        pool.stop()
        path = self.key_file(pool)
        with open(path, "rb") as file:
            own = file.read()
        with open(self.key_file(other), "rb") as file:
            foreign = file.read()
        for bad, mode, words in ((foreign, 0o600, "is the key of another pool"), (own, 0o644, "chmod go= " + path)):
            self.write(path, bad, mode)
            pool.start()
            self.locked_for(pool, words, awaits=True)
            self.assertIn(path, pool.status()["why_locked"])
            self.assertIn(words, pool.refused("unlock"))
            self.write(path, own, 0o600)
            pool.coffer("unlock")
            self.serves(pool)
            pool.stop()
            os.truncate(pool.messages, 0)
        self.write(path, own[:-20], 0o600)
        pool.start()
        time.sleep(4)  # two more looks, which say nothing new
        self.assertEqual(pool.last_messages().count(" is damaged"), 1)
        self.write(path, own, 0o600)
        self.until(lambda: not pool.status()["locked"])
        self.serves(pool)
        pool.stop()
        pool.check()


if __name__ == "__main__":
    unittest.main()
