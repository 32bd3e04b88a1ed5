#!/usr/bin/python3
"""A pool whose key lies in a TPM gets new keys while it is in use: with a PIN only for who has it, with a new root only in that
TPM and bound as the old one was. The copy of the old key, and its file, open the pool no more.
"""
import os
import shutil
import subprocess
import unittest

import nbd

from coffer import COFFER, MIB, PATIENCE, Pool, connect, need
from tpm import Tpm

Pool.learns = True

REFUSED = 3


class KeyInATpmChanges(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("swtpm")

    def setUp(self):
        self.tpm = Tpm()
        self.pool = Pool(create=False)
        self.key = os.path.join(self.pool.directory, "native.key")

    def tearDown(self):
        self.pool.remove()
        self.tpm.remove()

    def secret(self, text, name):
        path = os.path.join(self.pool.base, name)
        with open(path, "w") as file:
            file.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def sealed(self, *options):
        self.pool.coffer("create", self.pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", self.tpm.tcti, *options)

    def fill(self):
        self.pool.create_object("disk", MIB)
        handle = connect(self.pool, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()

    def serves(self):
        handle = connect(self.pool, "disk")
        self.assertEqual(bytes(handle.pread(4, 0)), b"here")
        handle.shutdown()

    def conf_replace(self, old, new):
        path = os.path.join(self.pool.directory, "coffer.conf")
        with open(path) as file:
            text = file.read()
        self.assertIn(old, text)
        with open(path, "w") as file:
            file.write(text.replace(old, new))

    def key_files(self):
        return sorted(name for name in os.listdir(self.pool.directory) if name.startswith("native.key"))

    def test_a_new_root_outdates_the_copy_and_the_old_file(self):
        copy, word = os.path.join(self.pool.base, "copy.key"), self.secret("correct horse", "word")
        pool, by_copy = self.pool, ("--copy", copy, "--passphrase-file", word)
        self.sealed(*by_copy)
        pool.start()
        self.fill()
        self.assertEqual(pool.json("key", "rekey", "--shallow")["kek_number"], 2)
        before = pool.json("key", "provider", "test")
        self.assertTrue(before["ok"])
        old = os.path.join(pool.base, "old.key")
        shutil.copy(self.key, old)
        said = pool.coffer("key", "rekey", "--shallow", "--new-root")
        self.assertIn("Key number 3 ", said)
        self.assertIn("key tpm copy --to FILE", said)
        self.assertEqual(self.key_files(), ["native.key"])
        self.serves()
        self.assertNotEqual(pool.json("key", "provider", "test")["kcv"], before["kcv"])
        pool.coffer("lock")
        pool.coffer("unlock")
        self.serves()
        self.assertIn("that one is a newer one", pool.refused("key", "tpm", "reseal", *by_copy))
        fresh = os.path.join(pool.base, "fresh.key")
        self.assertIn("--to FILE", pool.refused("key", "tpm", "copy"))
        inside = os.path.join(pool.directory, "copy")
        said = pool.refused("key", "tpm", "copy", "--to", inside, "--passphrase-file", word)
        self.assertIn("lies in the pool directory", said)
        self.assertIn("exists", pool.refused("key", "tpm", "copy", "--to", copy, "--passphrase-file", word).lower())
        self.assertEqual(pool.json("key", "tpm", "copy", "--to", fresh, "--passphrase-file", word), {"file": fresh})
        pool.kill()
        pool.start()
        self.serves()
        self.assertEqual(pool.json("key", "status")["kek_number"], 3)
        pool.stop()
        pool.check()
        shutil.copy(self.key, old + ".new")
        shutil.copy(old, self.key)
        self.assertIn("does not fit", pool.refused("check", pool.directory))
        shutil.copy(old + ".new", self.key)
        self.conf_replace("seal = tpm", "seal = passphrase")
        self.conf_replace("path = native.key", "path = " + copy)
        self.assertIn("does not fit", pool.refused("check", pool.directory, "--passphrase-file", word))
        self.conf_replace("path = " + copy, "path = " + fresh)
        self.tpm.stop()
        pool.start("--passphrase-file", word)
        self.serves()
        pool.stop()

    def test_a_pin_is_the_proof_and_guards_the_new_root_too(self):
        pool, right, wrong = self.pool, self.secret("2580", "right"), self.secret("0852", "wrong")
        self.sealed("--no-copy", "--pin-file", right)
        pool.start("--passphrase-file", right)
        self.fill()
        self.assertIn("wrong PIN", pool.refused("key", "rekey", "--shallow", "--passphrase-file", wrong, status=REFUSED))
        self.assertTrue(pool.json("key", "provider", "test", "--passphrase-file", right)["ok"])
        pool.environment["CREDENTIALS_DIRECTORY"] = pool.base
        self.secret("2580", "coffer.passphrase")
        self.assertEqual(pool.json("key", "rekey", "--shallow")["kek_number"], 2)
        self.assertEqual(pool.json("key", "rekey", "--shallow", "--new-root")["kek_number"], 3)
        self.assertTrue(pool.json("key", "provider", "test")["ok"])
        del pool.environment["CREDENTIALS_DIRECTORY"]
        pool.stop()
        pool.start()
        self.assertTrue(pool.status()["locked"])
        self.assertIn("PIN", pool.status()["why_locked"])
        self.assertIn("wrong PIN", pool.refused("unlock", "--passphrase-file", wrong, status=REFUSED))  # three lock a TPM out
        pool.coffer("unlock", "--passphrase-file", right)
        self.serves()
        pool.stop()
        word, copy = self.secret("correct horse", "word"), os.path.join(pool.base, "copy.key")
        pool.coffer("key", "tpm", "copy", "--to", copy, "--passphrase-file", word, "--pin-file", right)
        self.tpm.stop()
        self.conf_replace("seal = tpm", "seal = passphrase")
        self.conf_replace("path = native.key", "path = " + copy)
        pool.coffer("check", pool.directory, "--passphrase-file", word)

    def test_a_new_root_is_bound_to_the_same_pcrs(self):
        pool = self.pool
        self.sealed("--no-copy", "--pcrs", "7")
        pool.start()
        self.fill()
        pool.coffer("key", "rekey", "--shallow", "--new-root")
        self.assertEqual(pool.json("key", "tpm", "approvals")["pcrs"], [7])
        pool.stop()
        self.tpm.extend(7, b"new firmware, 32 bytes of digest")
        pool.start()
        self.assertIn("have values that nobody approved", pool.status()["why_locked"])
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")
        pool.stop()

    def opens_by_the_pin_alone(self, pin):
        self.assertEqual(self.pool.json("key", "tpm", "approvals")["pcrs"], [7])
        self.pool.coffer("lock")
        self.pool.refused("unlock")
        self.pool.coffer("unlock", "--passphrase-file", pin)
        self.serves()

    def test_a_new_root_by_the_recovery_key_keeps_pin_and_pcrs(self):
        pool, old, new = self.pool, self.secret("2580", "old"), self.secret("1379", "new")
        recovery = os.path.join(pool.base, "recovery.txt")
        self.sealed("--recovery", recovery, "--pin-file", old)
        pool.coffer("key", "tpm", "reseal", "--pcrs", "7", "--passphrase-file", old, "--pin-file", old)
        pool.start("--passphrase-file", old)
        self.fill()
        rekey = ("key", "rekey", "--shallow", "--new-root", "--recovery", recovery)
        self.assertIn("--new-passphrase-file", pool.refused(*rekey, status=REFUSED))
        self.assertEqual(pool.json("key", "status")["kek_number"], 1)
        self.opens_by_the_pin_alone(old)
        pool.coffer(*rekey, "--new-passphrase-file", new)
        self.assertEqual(pool.json("key", "status")["kek_number"], 2)
        self.opens_by_the_pin_alone(new)
        pool.stop()

    def test_a_root_that_waits_for_its_place_is_the_one_that_counts(self):
        """As after a crash between the change of keys and its end."""
        pool, word = self.pool, self.secret("correct horse", "word")
        old, copy, fresh = (os.path.join(pool.base, name) for name in ("old.key", "copy.key", "fresh.key"))
        self.sealed("--no-copy", "--pcrs", "7")
        pool.start()
        self.fill()
        shutil.copy(self.key, old)
        pool.coffer("key", "rekey", "--shallow", "--new-root")
        pool.stop()
        os.rename(self.key, self.key + ".next-2")
        shutil.copy(old, self.key)
        pool.coffer("key", "tpm", "copy", "--to", copy, "--passphrase-file", word)
        pool.coffer("key", "tpm", "approve", "--next", "7=" + "5a" * 32)
        pool.start()
        self.serves()
        self.assertEqual(self.key_files(), ["native.key"])
        self.assertEqual(len(pool.json("key", "tpm", "approvals")["approvals"]), 2)
        pool.coffer("key", "tpm", "reseal", "--copy", copy, "--passphrase-file", word)
        shutil.copy(old, self.key)
        for words in (("copy", "--to", fresh), ("reseal",), ("approve",)):
            passphrase = () if words == ("reseal",) else ("--passphrase-file", word)
            self.assertIn("another key than the one in force", pool.refused("key", "tpm", *words, *passphrase))
        self.assertFalse(os.path.exists(fresh))
        pool.stop()

    def test_a_key_that_another_one_follows_while_it_is_sealed_anew_stays_as_it_was(self):
        """The new one is in force and has not taken its place yet when the PIN comes."""
        pool, pin = self.pool, os.path.join(self.pool.base, "pin")
        old = os.path.join(pool.base, "old.key")
        self.sealed("--no-copy")
        pool.start()
        self.fill()
        shutil.copy(self.key, old)
        os.mkfifo(pin, 0o600)
        command = subprocess.Popen([COFFER, "-C", pool.directory, "key", "tpm", "reseal", "--pin-file", pin],
                                   stderr=subprocess.PIPE, text=True, env=pool.environment)
        with open(pin, "w") as file:
            pool.coffer("key", "rekey", "--shallow", "--new-root")
            os.rename(self.key, self.key + ".next-2")
            shutil.copy(old, self.key)
            file.write("correct horse\n")
        told = command.communicate(timeout=PATIENCE)[1]
        self.assertNotEqual(command.returncode, 0)
        self.assertIn("another key came into force meanwhile: nothing was changed", told)
        with open(old, "rb") as before, open(self.key, "rb") as now:
            self.assertEqual(now.read(), before.read())
        pool.stop()
        pool.start()
        self.serves()
        self.assertEqual(self.key_files(), ["native.key"])
        pool.stop()

    def test_without_the_tpm_nothing_changes(self):
        pool = self.pool
        self.sealed("--no-copy")
        pool.start()
        self.fill()
        self.tpm.stop()
        self.assertIn("no TPM answers", pool.refused("key", "rekey", "--shallow", "--new-root", status=REFUSED))
        self.assertIn("no TPM answers", pool.refused("key", "provider", "test", status=REFUSED))
        self.assertEqual(self.key_files(), ["native.key"])
        self.serves()
        self.assertEqual(pool.json("key", "status")["kek_number"], 1)
        self.tpm.start()
        pool.stop()
        pool.start()
        self.serves()
        pool.stop()


if __name__ == "__main__":
    unittest.main()
