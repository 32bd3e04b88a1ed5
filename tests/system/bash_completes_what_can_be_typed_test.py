#!/usr/bin/python3
"""The completion for bash offers the actions of `key provider` and `key tpm`, the seals that fit, and files where one is to be
named, whatever option takes it."""
import os
import subprocess
import tempfile
import unittest

from coffer import COFFER, need, run


class BashCompletes(unittest.TestCase):
    def setUp(self):
        need("bash")
        self.script = run(COFFER, "completion", "bash")
        self.directory = tempfile.TemporaryDirectory()
        open(os.path.join(self.directory.name, "pool.p12"), "w").close()

    def tearDown(self):
        self.directory.cleanup()

    def offered(self, *words):
        """What bash offers for the last of the words."""
        line = self.script + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _coffer; printf "%s\\n" "${COMPREPLY[@]}"'
        result = subprocess.run(["bash", "-c", line, "bash", "coffer", *words], capture_output=True, text=True, check=True,
                                cwd=self.directory.name)
        self.assertEqual(result.stderr, "")
        return result.stdout.split()

    def test_actions_behind_a_verb(self):
        self.assertEqual(sorted(self.offered("key", "provider", "")), ["add", "list", "remove", "reseal", "test", "use"])
        self.assertEqual(sorted(self.offered("key", "tpm", "")), ["approvals", "approve", "copy", "reseal"])
        self.assertEqual(self.offered("key", "provider", "us"), ["use"])
        self.assertEqual(self.offered("key", "provider", "use", ""), [])

    def test_seals_that_fit(self):
        self.assertEqual(self.offered("key", "restore", "pool.p12", "--seal", ""), ["file", "passphrase"])
        self.assertEqual(self.offered("create", "pool", "--seal", ""), ["file", "passphrase", "tpm"])
        self.assertEqual(self.offered("key", "provider", "add", "x", "--type", ""), ["native", "kmip"])

    def test_files(self):
        for words in (("key", "backup"), ("key", "drill"), ("key", "restore"), ("unlock", "--key"), ("unlock", "--recovery"),
                      ("unlock", "--key", "x", "--password-file"), ("key", "restore", "x", "--to"), ("key", "recovery", "--to"),
                      ("import", "x", "--scan"), ("import", "x", "--key"), ("key", "tpm", "copy", "--to"),
                      ("key", "provider", "use", "x", "--new-passphrase-file"), ("create", "x", "--overwrite"),
                      ("key", "provider", "add", "x", "--path"), ("object", "import"), ("object", "export", "x", "--output")):
            self.assertEqual(self.offered(*words, "po"), ["pool.p12"], words)
        self.assertEqual(self.offered("object", "show", "po"), [])
        self.assertIn("--scan", self.offered("import", "x", "--"))


if __name__ == "__main__":
    unittest.main()
