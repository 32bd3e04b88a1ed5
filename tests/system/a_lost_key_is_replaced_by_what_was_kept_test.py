#!/usr/bin/python3
"""A key that its provider has lost is replaced: a backup or the recovery key proves it, and a new root, or another provider's
key, is in force afterwards, which opens the pool without them."""
import os
import unittest

from coffer import Pool

Pool.learns = True

REFUSED, USAGE = 3, 2
PASSWORD, PHRASE = "correct horse battery", "open sesame"


class LostKeyIsReplaced(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(create=False)
        self.key = os.path.join(self.pool.directory, "native.key")
        self.recovery = os.path.join(self.pool.base, "recovery.txt")
        self.file = os.path.join(self.pool.base, "pool.p12")
        self.password, self.phrase = self.pool.secret("password", PASSWORD), self.pool.secret("phrase", PHRASE)
        self.by_key = ("--key", self.file, "--password-file", self.password)
        self.by_recovery = ("--recovery", self.recovery)

    def tearDown(self):
        self.pool.remove()

    def lose(self, *words):
        """A pool that is in use, with both kept, and whose key file is gone."""
        self.pool.coffer("create", self.pool.directory, "--size", "512M", "--recovery", self.recovery, *words)
        phrase = ("--passphrase-file", self.phrase) if "passphrase" in words else ()
        self.pool.start(*phrase)
        self.pool.fill()
        self.pool.coffer("key", "backup", self.file, "--password-file", self.password, *phrase)
        self.pool.stop()
        os.remove(self.key)
        self.pool.start()
        self.pool.coffer("unlock", *self.by_recovery)

    def opens_by_itself(self, *words):
        self.pool.coffer("lock")
        self.pool.coffer("unlock", *words)
        self.pool.serves()
        self.pool.stop()
        self.pool.start(*words)
        self.pool.serves()

    def in_force(self):
        status = self.pool.json("key", "status")
        return status["provider"], status["kek_number"]

    def test_a_new_root_takes_the_place_of_a_lost_key_file(self):
        self.lose()
        self.assertIn("there is no " + self.key, self.pool.refused("key", "rekey", "--shallow", "--new-root"))
        self.assertIn("--new-root", self.pool.refused("key", "rekey", "--shallow", *self.by_key, status=USAGE))
        self.assertIn("wrong password", self.pool.refused(
            "key", "rekey", "--shallow", "--new-root", "--key", self.file, "--password-file", self.phrase, status=REFUSED))
        self.assertEqual(self.in_force(), ("native", 1))
        self.assertFalse(os.path.exists(self.key))
        self.pool.coffer("key", "rekey", "--shallow", "--new-root", *self.by_key)
        self.assertEqual(self.in_force(), ("native", 2))
        self.assertEqual(os.stat(self.key).st_mode & 0o777, 0o600)
        self.opens_by_itself()
        for kept in (self.by_key, self.by_recovery):  # both are of the old root
            self.assertIn("in force no more", self.pool.refused("key", "rekey", "--shallow", "--new-root", *kept, status=REFUSED))
        self.assertEqual(self.in_force(), ("native", 2))
        self.pool.coffer("lock")
        for kept in (self.by_key, self.by_recovery):
            said = self.pool.refused("unlock", *kept, status=REFUSED)
            self.assertIn("the backup or recovery key is of a key that is in force no more", said)
            self.assertNotIn("wrong passphrase", said)
        self.pool.coffer("unlock")
        self.pool.serves()

    def test_another_provider_takes_the_place_of_one_that_lost_its_key(self):
        self.lose()
        self.pool.coffer("key", "provider", "add", "second", "--type", "native", "--seal", "file")
        self.pool.refused("key", "provider", "use", "second")
        self.pool.coffer("key", "provider", "use", "second", "--dry-run", *self.by_key)
        self.assertEqual(self.in_force(), ("native", 1))
        self.pool.coffer("key", "provider", "use", "second", *self.by_recovery)
        self.assertEqual(self.in_force(), ("second", 2))
        self.opens_by_itself()

    def test_a_lost_file_under_a_passphrase_gets_a_new_one(self):
        self.lose("--seal", "passphrase", "--passphrase-file", self.phrase)
        new = self.pool.secret("new", "open barley")
        self.pool.refused("key", "rekey", "--shallow", "--new-root", "--passphrase-file", self.phrase)
        self.pool.coffer("key", "rekey", "--shallow", "--new-root", *self.by_recovery, "--new-passphrase-file", new)
        self.assertEqual(self.in_force(), ("native", 2))
        self.pool.coffer("lock")
        self.pool.refused("unlock", "--passphrase-file", self.phrase, status=REFUSED)
        self.pool.coffer("unlock", "--passphrase-file", new)
        self.pool.serves()

    def test_new_data_keys_come_after_the_new_root(self):
        self.lose()
        self.assertIn("--new-root", self.pool.refused("key", "rekey", "--deep", *self.by_key, status=USAGE))
        said = self.pool.coffer("key", "rekey", "--deep", "--new-root", "--watch", *self.by_key)
        self.assertIn("Key number 2 of provider native is in force", said)
        self.assertIn("copies of the old one open this pool no more", said)
        self.assertTrue(all(row["current"] for row in self.pool.json("key", "status")["data_keys"]))
        self.opens_by_itself()

    def test_the_recovery_key_makes_the_key_file_again(self):
        self.lose()
        to = ("--to", self.key)
        self.pool.refused("key", "restore", *to, status=USAGE)
        self.pool.refused("key", "restore", *self.by_recovery, *to, "--password-file", self.password, status=USAGE)
        self.assertIn("no recovery key", self.pool.refused("key", "restore", "--recovery", self.phrase, *to, status=USAGE))
        self.assertFalse(os.path.exists(self.key))
        self.pool.coffer("key", "restore", *self.by_recovery, *to)
        self.assertEqual(os.stat(self.key).st_mode & 0o777, 0o600)
        self.assertEqual(self.in_force(), ("native", 1))
        self.opens_by_itself()
        self.assertIn("exists already", self.pool.refused("key", "restore", *self.by_recovery, *to))

    def test_what_goes_not_together_is_refused(self):
        self.lose()
        rekey = ("key", "rekey", "--shallow", "--new-root")
        for words in ((*rekey, *self.by_key, "--recovery"), (*rekey, *self.by_key, "--passphrase-file", self.phrase),
                      (*rekey, "--password-file", self.password), (*rekey, self.recovery),
                      (*rekey, "--new-passphrase-file", self.phrase),
                      (*rekey, *self.by_key, "--new-passphrase-file", self.phrase),
                      ("key", "provider", "list", "native", "x"), ("key", "provider", "use", "native", "x")):
            self.pool.refused(*words, status=USAGE)
        self.assertEqual(self.in_force(), ("native", 1))


if __name__ == "__main__":
    unittest.main()
