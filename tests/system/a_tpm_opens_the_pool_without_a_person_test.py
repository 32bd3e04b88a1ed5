#!/usr/bin/python3
"""A key sealed in a TPM opens the pool at each start, as long as it is that TPM; where it is absent, another one or cleared,
the pool starts locked, says what to type, and opens by itself when the TPM comes back.
"""
import hashlib
import os
import time
import unittest

import nbd

from coffer import MIB, PATIENCE, Pool, connect, need
from tpm import Tpm

Pool.learns = True

REFUSED, USAGE = 3, 2


class TpmSeals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("swtpm")
        cls.tpm, cls.other = Tpm(), Tpm()

    def secret(self, pool, text, name):
        path = os.path.join(pool.base, name)
        with open(path, "w") as file:
            file.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def sealed(self, *options):
        pool = Pool(create=False)
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", self.tpm.tcti,
                    *(options or ("--no-copy",)))
        return pool

    def fill(self, pool):
        pool.create_object("disk", MIB)
        handle = connect(pool, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()

    def serves(self, pool):
        handle = connect(pool, "disk")
        self.assertEqual(bytes(handle.pread(4, 0)), b"here")
        handle.shutdown()

    def locked_for(self, pool, words, awaits=True):
        status = pool.status()
        self.assertTrue(status["locked"])
        self.assertEqual(status["awaits_key"], awaits)
        self.assertIn(words, status["why_locked"])
        self.assertIn(words, pool.last_messages())
        with self.assertRaises(nbd.Error):
            connect(pool, "disk")

    def until(self, holds):
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def conf_replace(self, pool, old, new):
        path = os.path.join(pool.directory, "coffer.conf")
        with open(path) as file:
            text = file.read()
        self.assertIn(old, text)
        with open(path, "w") as file:
            file.write(text.replace(old, new))

    def test_it_opens_after_restarts_of_daemon_and_tpm(self):
        pool = self.sealed().start()
        self.fill(pool)
        self.assertFalse(pool.status()["locked"])
        pool.coffer("lock")
        pool.coffer("unlock")
        self.serves(pool)
        pool.coffer("key", "rekey", "--shallow")
        pool.coffer("key", "rekey", "--shallow", "--new-root")
        pool.stop()
        pool.start()
        self.serves(pool)
        pool.kill()
        self.tpm.stop()
        self.tpm.start()
        pool.start()
        self.serves(pool)
        pool.stop()
        pool.check()
        self.assertNotIn("TSS", pool.last_messages())
        self.assertNotIn("esys", pool.last_messages())

    def test_another_tpm_is_refused_until_the_right_one_is_back(self):
        pool = self.sealed().start()
        self.fill(pool)
        pool.stop()
        self.conf_replace(pool, self.tpm.tcti, self.other.tcti)
        pool.start()
        self.locked_for(pool, "is not the TPM that sealed")
        self.assertIn("move the disks back", pool.refused("unlock", status=REFUSED))
        self.assertIn("is not the TPM that sealed", pool.refused("check", pool.directory, status=REFUSED))
        pool.stop()
        self.conf_replace(pool, self.other.tcti, self.tpm.tcti)
        pool.start()
        self.serves(pool)
        pool.stop()

    def test_an_absent_tpm_is_waited_for(self):
        tpm = Tpm()
        pool = Pool(create=False)
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--no-copy", "--tcti", tpm.tcti)
        pool.start()
        self.fill(pool)
        pool.stop()
        tpm.stop()
        pool.start()
        self.locked_for(pool, "no TPM answers at " + tpm.tcti)
        self.assertIn("tcti", pool.refused("unlock", status=REFUSED))
        tpm.start()
        self.until(lambda: not pool.status()["locked"])
        self.serves(pool)
        pool.stop()

    def test_a_pin_is_asked_for_at_each_start(self):
        pool = Pool(create=False)
        right, wrong = self.secret(pool, "2580", "right"), self.secret(pool, "0852", "wrong")
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--no-copy", "--tcti", self.tpm.tcti,
                    "--pin-file", right)
        pool.start("--passphrase-file", right)
        self.fill(pool)
        pool.stop()
        pool.start()
        self.locked_for(pool, "PIN", awaits=False)
        self.assertIn("wrong PIN", pool.refused("unlock", "--passphrase-file", wrong, status=REFUSED))
        pool.coffer("unlock", "--passphrase-file", right)
        self.serves(pool)
        pool.stop()

    def test_the_copy_opens_where_the_tpm_is_lost(self):
        tpm = Tpm()
        pool = Pool(create=False)
        copy, word = os.path.join(pool.base, "copy.key"), self.secret(pool, "correct horse", "word")
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", tpm.tcti, "--copy", copy,
                    "--passphrase-file", word)
        pool.start()
        self.fill(pool)
        pool.stop()
        tpm.remove()
        self.conf_replace(pool, "seal = tpm", "seal = passphrase")
        self.conf_replace(pool, "path = native.key", "path = " + copy)
        pool.start("--passphrase-file", word)
        self.serves(pool)
        pool.stop()

    def test_what_is_bound_to_pcrs_opens_where_they_were_approved(self):
        tpm = Tpm()
        pool = Pool(create=False)
        copy, word = os.path.join(pool.base, "copy.key"), self.secret(pool, "correct horse", "word")
        by_copy = ("--copy", copy, "--passphrase-file", word)
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", tpm.tcti, "--pcrs", "7", *by_copy)
        pool.start()
        self.fill(pool)
        pool.stop()
        new = hashlib.sha256(bytes(32) + b"new firmware, 32 bytes of digest").hexdigest()
        self.assertIn("write NUMBER=VALUE", pool.refused("key", "tpm", "approve", "--next", "7=12", status=USAGE))
        self.assertIn("not bound to PCR 8", pool.refused("key", "tpm", "approve", "--next", "8=" + new, status=USAGE))
        approved = pool.json("key", "tpm", "approvals")
        self.assertEqual(approved["pcrs"], [7])
        self.assertEqual([row["now"] for row in approved["approvals"]], [True])
        pool.coffer("key", "tpm", "approve", "--next", "7=" + new)  # before the update
        tpm.extend(7, b"new firmware, 32 bytes of digest")
        self.assertEqual([row["now"] for row in pool.json("key", "tpm", "approvals")["approvals"]], [True, False])
        pool.start()
        self.serves(pool)
        pool.stop()
        tpm.extend(7, b"an update that nobody announced!")
        pool.start()
        self.locked_for(pool, "have values that nobody approved")
        self.assertIn("nobody approved", pool.refused("key", "tpm", "approve", status=REFUSED))
        self.assertIn("nobody approved", pool.refused("unlock", status=REFUSED))
        pool.coffer("key", "tpm", "approve", *by_copy)
        self.until(lambda: not pool.status()["locked"])  # by itself
        self.serves(pool)
        pool.coffer("key", "tpm", "reseal")
        self.assertEqual(len(pool.json("key", "tpm", "approvals")["approvals"]), 1)
        self.assertEqual(pool.json("key", "tpm", "reseal", "--no-pcrs"),
                         {"file": os.path.join(pool.directory, "native.key"), "pcrs": [], "pin": False})
        tpm.extend(7, b"it does not matter any more, now")
        pool.coffer("lock")
        pool.coffer("unlock")
        self.serves(pool)
        pool.stop()
        self.assertIn("bound to no PCRs", pool.refused("key", "tpm", "approvals", status=USAGE))

    def test_another_machine_takes_the_disks_over_by_the_copy(self):
        pool = Pool(create=False)
        copy, word = os.path.join(pool.base, "copy.key"), self.secret(pool, "correct horse", "word")
        pin = self.secret(pool, "2580", "pin")
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", self.tpm.tcti, "--copy", copy,
                    "--passphrase-file", word)
        pool.start()
        self.fill(pool)
        pool.stop()
        self.conf_replace(pool, self.tpm.tcti, self.other.tcti)
        self.assertIn("is not the TPM that sealed", pool.refused("key", "tpm", "reseal", status=REFUSED))
        pool.coffer("key", "tpm", "reseal", "--copy", copy, "--passphrase-file", word, "--pin-file", pin)
        self.assertIn("--no-pin", pool.refused("key", "tpm", "reseal", status=USAGE))
        pool.start("--passphrase-file", pin)
        self.serves(pool)
        pool.stop()

    def test_creation_says_what_is_missing_and_leaves_nothing(self):
        pool = Pool(create=False)
        word = self.secret(pool, "correct horse", "word")
        sealed = ("create", pool.directory, "--size", "512M", "--seal", "tpm")
        self.assertIn("--no-copy", pool.refused(*sealed, status=USAGE))
        self.assertIn("--copy or --no-copy", pool.refused(*sealed, "--copy", "x", "--no-copy", status=USAGE))
        self.assertIn("--tcti is for --seal tpm",
                      pool.refused("create", pool.directory, "--tcti", self.tpm.tcti, status=USAGE))
        self.assertIn("there is no TCTI", pool.refused(*sealed, "--no-copy", "--tcti", "cmd:sh"))
        self.assertIn("no TPM answers at device:/dev/no-tpm",
                      pool.refused(*sealed, "--no-copy", "--tcti", "device:/dev/no-tpm"))
        self.assertIn("no TPM answers", pool.refused(*sealed, "--no-copy", "--dry-run", "--tcti", "device:/dev/no-tpm"))
        pool.coffer(*sealed, "--no-copy", "--dry-run", "--tcti", self.tpm.tcti)
        self.assertIn("exists", pool.refused(*sealed, "--copy", word, "--passphrase-file", word, "--tcti", self.tpm.tcti))
        self.assertIn("No such file", pool.refused(*sealed, "--copy", os.path.join(pool.base, "no", "copy"),
                                                   "--passphrase-file", word, "--tcti", self.tpm.tcti))
        self.assertFalse(os.path.exists(pool.directory))


if __name__ == "__main__":
    unittest.main()
