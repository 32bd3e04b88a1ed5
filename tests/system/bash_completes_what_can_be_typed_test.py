#!/usr/bin/python3
"""The completion for bash offers the actions of `key provider` and `key tpm`, the seals that fit, and files where one is to be
named, whatever option takes it; behind --hosts the key servers of the pool that may stand there."""
import os
import re
import subprocess
import tempfile
import unittest

from coffer import COFFER, Pool, need, run


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
        path = os.path.dirname(COFFER) + ":" + os.environ["PATH"]
        result = subprocess.run(["bash", "-c", line, "bash", "coffer", *words], capture_output=True, text=True, check=True,
                                cwd=self.directory.name, env={**os.environ, "PATH": path})
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

    def test_key_servers_of_the_pool(self):
        """Behind --hosts; bash takes "kms:NAME" for three words."""
        pool = Pool("300M")
        self.addCleanup(pool.remove)
        with open(os.path.join(pool.directory, "coffer.conf"), "a") as conf:
            for number, name in enumerate(("corp", "branch")):
                conf.write(f"\n[provider {name}]\nid = 2222222{number}-2222-4222-8222-222222222222\ntype = kmip\nservers = kms1\n"
                           "ca = ca.pem\ncertificate = host.pem\nkey = host.key\n")
        set_hosts = ("-C", pool.directory, "object", "set", "vm", "--hosts")
        self.assertEqual(self.offered(*set_hosts, ""), ["none", "kms:corp", "kms:branch"])
        self.assertEqual(self.offered(*set_hosts, "k"), ["kms:corp", "kms:branch"])
        self.assertEqual(self.offered(*set_hosts, "kms", ":"), ["corp", "branch"])
        self.assertEqual(self.offered(*set_hosts, "kms", ":", "co"), ["corp"])
        self.assertEqual(self.offered("-C", pool.directory, "object", "create", "vm", "--size", "1G", "--hosts", "kms", ":", ""),
                         ["corp", "branch"])
        self.assertEqual(self.offered("-C", "/nonexistent", "object", "set", "vm", "--hosts", ""), ["none"])
        with open(os.path.join(pool.directory, "coffer.conf")) as conf:
            text = conf.read()
        own = re.search(r"(?m)^\[provider native\]\n(?:.*\n)*?id = (.*)$", text)[1]
        text = text.replace(own, "33333333-2222-4222-8222-222222222222")
        with open(os.path.join(pool.directory, "coffer.conf"), "w") as conf:
            conf.write(text.replace("22222220-2222-4222-8222-222222222222", own))  # by which corp is in force
        self.assertEqual(self.offered(*set_hosts, ""), ["none", "kms:branch"])


if __name__ == "__main__":
    unittest.main()
