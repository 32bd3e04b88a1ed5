#!/usr/bin/python3
"""`coffer key provider test` asks each server for what an unlock needs, and says what each answered; no key is shown."""
import json
import os
import subprocess
import unittest

from kmip.core import enums

from coffer import COFFER, PATIENCE, Pool
from kmip_servers import KmipPool, Server, options

Pool.learns = True


class KeyProviderTest(unittest.TestCase):
    def ask(self, pool, *words, status=0):
        """Status, what is printed, and the same as JSON."""
        said = []
        for form in ((), ("--json",)):
            result = subprocess.run([COFFER, "-C", pool.directory, *form, "key", "provider", "test", *words],
                                    capture_output=True, text=True, timeout=PATIENCE, env=pool.environment)
            self.assertEqual(result.returncode, status, result.stdout + result.stderr)
            said.append(result.stdout)
        return said[0], json.loads(said[1])

    def test_two_servers(self):
        pool = KmipPool()
        first = pool.server(versions=("1.2",)).start()
        second = Server(pool.certificates, os.path.join(pool.base, "other keys"), versions=("1.4",)).start()
        pool.coffer("create", pool.directory, "--size", "512M", "--kmip-separate",
                    *options(pool.certificates, first, second))
        said, facts = self.ask(pool)
        self.assertTrue(facts["ok"])
        self.assertEqual(facts["key"], pool.key_name)
        rows = facts["servers"]
        self.assertEqual([row["version"] for row in rows], ["1.2", "1.4"])
        self.assertEqual([row["state"] for row in rows], ["Active", "Active"])
        self.assertIn("PyKMIP", rows[0]["vendor"])
        self.assertEqual(rows[0]["kcv"], rows[1]["kcv"])
        self.assertEqual(len(rows[0]["kcv"]), 16)
        key = first.key(first.ids()[0])
        for text in (said, json.dumps(facts)):
            self.assertNotIn(key.hex(), text)
            self.assertIn(first.address, text)
        pool.learn()
        pool.start()
        self.ask(pool, "kmip")  # while the pool is open, too

        second.revoke(second.ids()[0])
        _, facts = self.ask(pool)
        self.assertEqual(facts["servers"][1]["state"], "Deactivated")
        second.destroy_all()
        second.register(pool.key_name, key[::-1])
        said, facts = self.ask(pool, status=1)
        self.assertFalse(facts["ok"])
        self.assertTrue(facts["servers"][0]["ok"])
        self.assertEqual(facts["servers"][1]["error"], "FORGED")
        self.assertIn("another key than " + first.address, said)
        second.destroy_all()
        _, facts = self.ask(pool, status=1)
        self.assertIn("no key", facts["servers"][1]["sentence"])
        self.assertNotIn("kcv", facts["servers"][1])
        first.stop()
        said, facts = self.ask(pool, status=1)
        self.assertFalse(facts["servers"][0]["reached"])
        self.assertTrue(facts["servers"][1]["reached"])
        self.assertIn("cannot connect", said)
        pool.stop()
        first.start()
        first.revoke(first.ids()[0], enums.RevocationReasonCode.KEY_COMPROMISE)
        _, facts = self.ask(pool, status=1)
        self.assertEqual(facts["servers"][0]["state"], "Compromised")

    def test_other_providers_and_names(self):
        pool = Pool("512M")
        said, facts = self.ask(pool)
        self.assertIn(facts["kcv"], said)
        with open(next(path for path in pool.files() if path.endswith(".key"))) as file:
            self.assertIn(facts["kcv"], file.read())
        self.assertIn("no [provider kms]", pool.refused("key", "provider", "test", "kms"))
        self.assertIn("did you mean 'native'", pool.refused("key", "provider", "test", "nativ"))
        self.assertIn("there are list, test", pool.refused("key", "provider", "forget", status=2))
        os.unlink(next(path for path in pool.files() if path.endswith(".key")))
        pool.refused("key", "provider", "test")
        plain = Pool("512M", "--no-encryption")
        self.assertIn("not encrypted", plain.refused("key", "provider", "test"))


if __name__ == "__main__":
    unittest.main()
