#!/usr/bin/python3
"""A recovery key, made with the pool or later, opens it without its key file, whatever sealed it; a slip, another key and a key
of before are told apart, and only the newest counts."""
import os
import re
import unittest

from coffer import MIB, Pool, need
from tpm import Tpm

Pool.learns = True

REFUSED, USAGE = 3, 2
FORM = re.compile(r"(?:[A-Z2-7]{4}[-\s]+){13}[A-Z2-7]{4}")


class RecoveryKeyOpensThePool(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(create=False)
        self.key = os.path.join(self.pool.directory, "native.key")
        self.file = os.path.join(self.pool.base, "recovery.txt")

    def tearDown(self):
        self.pool.remove()

    def create(self, *words):
        return self.pool.coffer("create", self.pool.directory, "--size", "512M", *words)

    def fill(self):
        self.pool.start()
        self.pool.fill()

    def unlock(self, file):
        return self.pool.coffer("unlock", "--recovery", file)

    def unlock_refused(self, file, status=REFUSED):
        return self.pool.refused("unlock", "--recovery", file, status=status)

    def test_it_is_shown_once_at_the_creation_and_opens_without_the_key_file(self):
        shown = FORM.search(self.create("--recovery", "print"))
        self.assertIsNotNone(shown)
        text = shown.group()
        paper = self.pool.secret("paper", re.sub(r"[-\s]+", " ", text).lower())
        self.fill()
        self.assertTrue(self.pool.json("key", "status")["recovery"]["current"])
        self.pool.stop()
        os.remove(self.key)
        self.pool.start()
        self.pool.refused("unlock")
        self.unlock(paper)
        self.pool.serves()
        self.pool.coffer("lock")
        slip = text[:2] + ("A" if text[2] != "A" else "B") + text[3:]
        self.assertIn("check word", self.unlock_refused(self.pool.secret("slip", slip), status=USAGE))
        self.assertIn("no recovery key", self.unlock_refused(self.pool.secret("short", text[:-5]), status=USAGE))
        for path in [self.pool.messages, *self.pool.files()]:
            if os.path.getsize(path) < MIB:
                with open(path, "rb") as file:
                    self.assertNotIn(text[:30].encode(), file.read())

    def test_a_new_one_ends_the_old_one(self):
        self.create("--recovery", self.file)
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        self.fill()
        self.assertIn("exists already", self.pool.refused("key", "recovery", "--to", self.file))
        self.assertIn("JSON never holds a secret", self.pool.refused("--json", "key", "recovery", "--to", "print"))
        self.pool.coffer("key", "recovery", "--to", self.file + ".2")
        self.pool.coffer("lock")
        self.assertIn("another recovery key", self.unlock_refused(self.file))
        self.unlock(self.file + ".2")
        self.pool.serves()

    def test_a_new_root_outdates_it_and_health_says_so(self):
        self.create("--recovery", self.file)
        self.fill()
        self.assertEqual(self.pool.health()["RECOVERY_OUTDATED"]["severity"], "ok")
        self.pool.coffer("key", "rekey", "--shallow")
        self.pool.coffer("lock")
        self.unlock(self.file)
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        outdated = self.pool.health()["RECOVERY_OUTDATED"]
        self.assertEqual(outdated["severity"], "warning")
        self.assertIn("key recovery", outdated["command"])
        self.pool.coffer("lock")
        said = self.unlock_refused(self.file)
        self.assertIn("the backup or recovery key is of a key that is in force no more", said)
        self.assertNotIn("wrong passphrase", said)
        self.pool.coffer("unlock")
        self.pool.coffer("key", "recovery", "--to", self.file + ".2")
        self.assertEqual(self.pool.health()["RECOVERY_OUTDATED"]["severity"], "ok")
        self.pool.coffer("lock")
        self.unlock(self.file + ".2")
        self.pool.serves()

    def test_it_opens_where_the_tpm_is_gone(self):
        need("swtpm")
        tpm = Tpm()
        sealed = ("create", self.pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", tpm.tcti)
        self.assertIn("--recovery", self.pool.refused(*sealed, status=USAGE))
        self.pool.coffer(*sealed, "--recovery", self.file)
        self.fill()
        self.pool.stop()
        tpm.remove()
        self.pool.start()
        self.pool.refused("unlock")
        self.unlock(self.file)
        self.pool.serves()

    def test_it_takes_the_passphrase_of_the_pool_to_make_one(self):
        phrase = self.pool.secret("phrase", "open sesame")
        self.create("--seal", "passphrase", "--passphrase-file", phrase)
        wrong = self.pool.secret("wrong", "open barley")
        self.pool.refused("key", "recovery", "--to", self.file, "--passphrase-file", wrong, status=REFUSED)
        self.assertFalse(os.path.exists(self.file))
        self.pool.coffer("key", "recovery", "--to", self.file, "--passphrase-file", phrase)
        self.pool.start()
        self.unlock(self.file)
        self.assertFalse(self.pool.status()["locked"])

    def test_it_does_not_lie_in_the_pool_directory(self):
        inside, words = os.path.join(self.pool.directory, "recovery.txt"), ("create", self.pool.directory, "--size", "512M")
        for there in (False, True):
            if there:
                os.mkdir(self.pool.directory)
            self.assertIn("lies in the pool directory", self.pool.refused(*words, "--recovery", inside, status=USAGE))
            self.assertEqual(os.path.exists(self.pool.directory), there)
        self.create("--no-recovery")
        self.assertIn("lies in the pool directory", self.pool.refused("key", "recovery", "--to", inside, status=USAGE))
        self.pool.start()
        self.pool.coffer("key", "provider", "add", "other", "--type", "native", "--seal", "file", "--path",
                         os.path.join(self.pool.base, "other.key"))
        said = self.pool.refused("key", "provider", "use", "other", "--new-recovery", inside, status=USAGE)
        self.assertIn("lies in the pool directory", said)
        self.assertNotIn("recovery.txt", os.listdir(self.pool.directory))

    def test_without_its_file_it_is_worth_nothing_and_damage_is_told(self):
        self.create("--recovery", self.file)
        self.pool.start()
        self.pool.coffer("lock")
        path = os.path.join(self.pool.directory, "recovery.json")
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(text.replace('"kdk"', '"kek"'))
        self.assertIn("damaged", self.unlock_refused(self.file, status=None))
        os.remove(path)
        self.assertIn(f"there is no {path}", self.unlock_refused(self.file, status=None))
        self.assertTrue(self.pool.status()["locked"])
        with open(path, "w") as file:
            file.write(text)
        self.unlock(self.file)

    def test_what_goes_not_together_is_refused(self):
        for words in (("--recovery", "print", "--no-recovery"), ("--recovery", "print", "--no-encryption")):
            self.pool.refused("create", self.pool.directory, "--size", "512M", *words, status=USAGE)
        self.pool.refused("create", self.pool.directory, "--size", "512M", "--recovery", self.pool.secret("there", "x"))
        self.assertFalse(os.path.exists(self.pool.directory))
        self.assertIn("/no/such/dir/x", self.pool.refused("create", self.pool.directory, "--size", "512M", "--recovery",
                                                          "/no/such/dir/x"))
        self.assertFalse(os.path.exists(self.pool.directory))
        self.create("--no-recovery")
        self.pool.start()
        self.pool.refused("unlock", "--recovery", "--key", "x", status=USAGE)
        self.pool.refused("unlock", "x", status=USAGE)


if __name__ == "__main__":
    unittest.main()
