#!/usr/bin/python3
"""`coffer selftest` names for each use the algorithm and its publication, and whether OpenSSL's FIPS provider is active;
where an algorithm gives a wrong answer on this machine it says so, and cofferd does not start, having touched nothing."""
import json
import os
import subprocess
import unittest

from coffer import COFFER, SANITIZED, Pool

WRONG = os.environ["WRONG_ANSWERS"]
STARTS = {"XTS": "AES-256-XTS", "GMAC": "AES-256-GMAC", "KWP": "AES-256-KWP", "KBKDF": "KBKDF", "HMAC": "HMAC-SHA-256"}
ALGORITHMS = {**STARTS, "scrypt": "scrypt"}  # too slow for each start
PUBLICATIONS = ("IEEE 1619", "SP 800-38D", "SP 800-38F", "SP 800-108", "FIPS 198-1", "RFC 7914", "SP 800-132", "SP 800-90A")
FAILED = 1


def spoilt(name):
    return {"LD_PRELOAD": WRONG, "WRONG_ANSWER": name}


class WrongCiphers(unittest.TestCase):
    def selftest(self, *form, **environment):
        return subprocess.run([COFFER, *form, "selftest"], capture_output=True, text=True, timeout=120,
                              env=dict(os.environ, **environment))

    def test_what_guards_data_and_keys_is_named(self):
        said = self.selftest()
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        rows = said.stdout.splitlines()
        self.assertEqual(rows[0].split(), ["USE", "ALGORITHM", "PUBLICATION", "ANSWER", "FIPS"])
        for word in (*ALGORITHMS.values(), *PUBLICATIONS, "blocks on devices", "FIPS provider is not active"):
            self.assertIn(word, said.stdout)
        told = json.loads(self.selftest("--json").stdout)
        self.assertTrue(told["passed"])
        self.assertFalse(told["fips_provider"])
        self.assertIn("OpenSSL 3", told["library"])
        self.assertEqual(sum(row["known_answer"] for row in told["algorithms"]), len(ALGORITHMS))
        passed = [row for row in rows if " passed " in row]
        self.assertEqual(len(passed), len(ALGORITHMS))
        for row in told["algorithms"]:
            self.assertTrue(any(all(row[key] in line for key in ("use", "algorithm", "publication")) for line in rows), row)

    @unittest.skipIf(SANITIZED, "a sanitizer's library is to be loaded before all others")
    def test_a_wrong_answer_is_told(self):
        self.assertEqual(self.selftest(**spoilt("")).returncode, 0)
        for name, algorithm in ALGORITHMS.items():
            said = self.selftest(**spoilt(name))
            self.assertEqual((said.returncode, said.stdout), (FAILED, ""))
            self.assertIn(f"self-test: {algorithm} gives a wrong answer on this machine", said.stderr)
            said = self.selftest("--json", **spoilt(name))
            self.assertEqual(said.returncode, FAILED)
            told = json.loads(said.stdout)
            self.assertFalse(told["passed"])
            self.assertIn(algorithm, told["sentence"])

    @unittest.skipIf(SANITIZED, "a sanitizer's library is to be loaded before all others")
    def test_nothing_starts_by_it(self):
        pool = Pool("512M")
        before = {path: os.stat(path).st_mtime_ns for path in pool.files()}
        environment = pool.environment
        for name, algorithm in STARTS.items():
            pool.environment = dict(environment, **spoilt(name))
            said = pool.start_refused(status=FAILED)
            self.assertIn(f"self-test: {algorithm} gives a wrong answer on this machine", said)
        self.assertEqual({path: os.stat(path).st_mtime_ns for path in pool.files()}, before)
        pool.environment = dict(environment, **spoilt(""))
        pool.start()
        pool.fill()
        pool.serves()
        pool.stop()


if __name__ == "__main__":
    unittest.main()
