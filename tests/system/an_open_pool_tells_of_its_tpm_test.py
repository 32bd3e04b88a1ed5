#!/usr/bin/python3
"""A pool that is open needs no TPM, and `health` tells while it is open that the TPM which sealed its key would not open it again:
it is gone, or another one, or its PCRs have values that nobody approved, or it takes no PINs; and that all is well, once it is.
"""
import os
import socket
import time
import unittest

from coffer import PATIENCE, Pool, need
from tpm import Tpm


class OpenPoolTells(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("swtpm")
        cls.tpm, cls.other = Tpm(), Tpm()

    def sealed(self, *options):
        pool = Pool(create=False)
        self.word = pool.secret("word", "correct horse")
        self.copy = os.path.join(pool.base, "copy.key")
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", self.tpm.tcti, "--copy", self.copy,
                    "--passphrase-file", self.word, *options)
        return pool

    def ready(self, pool, severity, *words):
        """A look finds that; an unlock of a pool that is open, which is refused, asks for one."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(os.path.join(pool.directory, "control.sock"))
            control.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "pool.unlock"}\n')
            control.recv(4096)
        deadline = time.monotonic() + PATIENCE
        while True:
            found = pool.health()["UNLOCK_READY"]
            if found["severity"] == severity and all(word in found["evidence"] for word in words):
                return found
            self.assertLess(time.monotonic(), deadline, f"{found}, not {severity} {words}")
            time.sleep(0.02)

    def leaves_nothing_in(self, tpm):
        """As soon as nobody asks it."""
        deadline = time.monotonic() + PATIENCE
        while tpm.slots_filled() > 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def test_a_tpm_that_goes_and_comes(self):
        pool = self.sealed().start()
        pool.fill()
        self.ready(pool, "ok", "holds the key in force", "the TPM gave it, last on 2")
        self.leaves_nothing_in(self.tpm)
        self.tpm.stop()
        found = self.ready(pool, "error", "could not be opened again now: no TPM answers at " + self.tpm.tcti, "tcti")
        self.assertIn("key provider test", found["command"])
        self.assertIn("the key that its TPM sealed would not open it again: no TPM answers", pool.last_messages())
        pool.serves()
        self.tpm.start()
        self.ready(pool, "ok", "the TPM gave it")
        self.assertIn("would open the pool again", pool.last_messages())
        conf = os.path.join(pool.directory, "coffer.conf")
        with open(conf) as file:
            text = file.read()
        with open(conf, "w") as file:
            file.write(text.replace(self.tpm.tcti, self.other.tcti))
        self.ready(pool, "error", "is not the TPM that sealed", "move the disks back")
        self.leaves_nothing_in(self.other)
        with open(conf, "w") as file:
            file.write(text)
        self.ready(pool, "ok", "the TPM gave it")
        pool.coffer("key", "rekey", "--shallow", "--new-root")
        self.ready(pool, "ok", "the TPM gave it")
        pool.stop()

    def test_pcrs_that_change_while_the_pool_is_open(self):
        pool = self.sealed("--pcrs", "7").start()
        pool.fill()
        self.ready(pool, "ok", "the TPM gave it")
        self.tpm.extend(7, b"an update that nobody announced!")
        self.ready(pool, "error", "the PCRs (7)", "nobody approved", "`coffer key tpm approve --copy FILE`")
        self.leaves_nothing_in(self.tpm)
        pool.serves()
        pool.coffer("key", "tpm", "approve", "--copy", self.copy, "--passphrase-file", self.word)
        self.ready(pool, "ok", "the TPM gave it")
        pool.stop()

    def test_with_a_pin_all_but_the_pin_is_tried(self):
        pool = Pool(create=False)
        pin = pool.secret("pin", "2580")
        pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--tcti", self.tpm.tcti, "--no-copy",
                    "--pin-file", pin)
        pool.start("--passphrase-file", pin)
        self.ready(pool, "ok", "answers and takes PINs", "was not tried")
        self.tpm.stop()
        self.ready(pool, "error", "no TPM answers")
        self.tpm.start()
        self.ready(pool, "ok", "was not tried")
        self.leaves_nothing_in(self.tpm)
        pool.stop()


if __name__ == "__main__":
    unittest.main()
