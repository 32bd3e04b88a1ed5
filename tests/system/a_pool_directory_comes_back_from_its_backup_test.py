#!/usr/bin/python3
"""`coffer backup` beside a running daemon, and `coffer restore`: what comes back is the same to the byte, without the witness, and
opens after the word that the disks are the newest; what is cut, of another pool, older than the keys, or in the way is told."""
import json
import os
import shutil
import subprocess
import unittest

from coffer import COFFER, MIB, Pool, connect, run

Pool.learns = True

REFUSED, DIFFERS = 3, 1
KMS = """
[provider kms]
id = 11111111-2222-4333-8444-555555555555
type = kmip
servers = kms.example
ca = tls/ca.pem
certificate = {elsewhere}
key = tls/host.key
"""


class DirectoryComesBack(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(create=False)
        self.directory, base = self.pool.directory, self.pool.base
        self.password, self.file, self.disk = (os.path.join(base, name) for name in ("password", "pool.backup", "disk1"))
        self.write(self.password, "correct horse\n")
        run("truncate", "--size", "300M", self.disk)
        self.pool.coffer("create", self.directory, "--group", "g1=" + self.disk)

    def tearDown(self):
        self.pool.remove()

    def write(self, path, text):
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)

    def read(self, *names):
        with open(os.path.join(self.directory, *names), "rb") as file:
            return file.read()

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def backup(self, *words):
        return self.pool.coffer("backup", *words, self.file, "--passphrase-file", self.password)

    def verify(self, *where, file=None):
        words = [COFFER, *where, "--json", "backup", "--verify", file or self.file, "--passphrase-file", self.password]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, env=self.pool.environment)

    def restore_words(self):
        return ("restore", self.file, self.directory, "--passphrase-file", self.password)

    def restore(self):
        return self.pool.run(COFFER, *self.restore_words())

    def restore_refused(self):
        said = self.pool.refused(*self.restore_words())
        return " ".join(said.split())

    def test_it_comes_back_the_same_and_opens(self):
        os.mkdir(self.path("tls"))
        elsewhere = os.path.join(self.pool.base, "host.pem")
        with open(self.path("coffer.conf"), "a") as conf:
            conf.write(KMS.format(elsewhere=elsewhere))
        for path in (self.path("tls", "ca.pem"), self.path("tls", "host.key"), elsewhere):
            self.write(path, path + "\n")
        self.pool.start()
        self.pool.create_object("disk", MIB)
        handle = connect(self.pool, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        self.write(self.path("deep-rekey"), "orders\n")
        made = self.pool.json("backup", self.file, "--passphrase-file", self.password)
        names = [item["name"] for item in made["items"] if item["kind"] == "file"]
        self.assertEqual(sorted(names), ["audit", "coffer.conf", "deep-rekey", "key-ages", "key-dates", "native.key",
                                         "tls/ca.pem", "tls/host.key"])
        self.assertEqual([item["kind"] for item in made["items"]].count("superblock"), 1)
        self.assertEqual([item["path"] for item in made["absent"]], [elsewhere])
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        with open(self.file, "rb") as file:
            self.assertNotIn(b"native", file.read())
        self.assertIn("exists already", self.pool.refused("backup", self.file, "--passphrase-file", self.password))
        self.assertIn("The pool is as it was then", self.backup("--verify"))
        self.pool.stop()
        kept = {name: self.read(name) for name in names}
        self.pool.start()
        self.pool.stop()
        self.assertIn('"outdated": false', self.verify("-C", self.directory).stdout)
        kept["audit"] = kept["audit"].splitlines(keepends=True)
        shutil.rmtree(self.directory)

        os.mkdir(self.directory)
        self.write(self.path("native.key"), "another")
        self.assertIn("holds something else than the backup", self.restore_refused())
        self.assertEqual(os.listdir(self.directory), ["native.key"])
        os.remove(self.path("native.key"))
        self.write(self.path("letter"), "")
        self.assertIn("is not empty (letter)", self.restore_refused())
        os.remove(self.path("letter"))
        self.write(self.path("native.key"), kept["native.key"].decode())  # as a crash leaves it
        said = " ".join(self.restore().split())
        self.assertIn("--accept-rollback", said)
        for name in names:
            text = self.read(name)
            if name == "audit":
                self.assertEqual(text.splitlines(keepends=True), kept[name][:len(text.splitlines())])
                self.assertLess(len(text), len(b"".join(kept[name])))
            else:
                self.assertEqual(text, kept[name], name)
            self.assertEqual(os.stat(self.path(name)).st_mode & 0o777, 0o600)
        self.assertFalse(os.path.exists(self.path("witness")))
        self.assertEqual(os.stat(self.directory).st_mode & 0o777, 0o700)
        self.assertIn("it is not lost", self.restore_refused())
        self.assertIn("--accept-rollback", self.pool.start_refused())
        self.pool.start("--accept-rollback")
        handle = connect(self.pool, "disk")
        self.assertEqual(bytes(handle.pread(4, 0)), b"here")
        handle.shutdown()
        answer = subprocess.run([COFFER, "-C", self.directory, "key", "audit"], capture_output=True, text=True)
        self.assertEqual(answer.returncode, 1, answer)  # what came after the backup is missing
        self.pool.stop()
        self.pool.check()

    def test_an_audit_keeps_no_backup_from_being_made(self):
        """The oldest part of one that has no room is left out, and told."""
        self.pool.start()
        self.pool.stop()
        self.pool.start()
        self.pool.stop()
        lines = self.read("audit").splitlines(keepends=True)
        self.assertGreaterEqual(len(lines), 4)
        with open(self.path("audit"), "wb") as file:  # what is before the last lines has no room
            file.write(b"x" * (33 * MIB) + b"\n" + b"".join(lines[2:]))
        os.chmod(self.path("audit"), 0o600)
        self.write(self.path("audit-pending"), "x\n" * MIB)  # larger than any can be: its end alone is worth nothing
        said = self.pool.refused("backup", self.file, "--passphrase-file", self.password)
        self.assertIn("audit-pending has 2097152 bytes", " ".join(said.split()))
        os.remove(self.path("audit-pending"))
        self.assertIn("Not in it: the audit before entry 3:", self.backup())
        answer = self.verify("-C", self.directory)
        self.assertEqual(answer.returncode, 0, answer)
        told = json.loads(answer.stdout)
        self.assertEqual(told["absent"], [{"what": "audit before entry 3", "path": self.path("audit")}])
        self.assertFalse(told["outdated"])
        shutil.rmtree(self.directory)
        said = " ".join(self.restore().split())
        self.assertIn("Not in the backup: the audit before entry 3. `coffer key audit` says for ever that it is missing", said)
        self.assertEqual(self.read("audit"), b"".join(lines[2:]))
        self.pool.start("--accept-rollback")
        words = [COFFER, "-C", self.directory, "key", "audit"]
        for _ in range(2):
            answer = subprocess.run(words, capture_output=True, text=True)
            self.assertEqual(answer.returncode, 1, answer)
            said = " ".join(answer.stdout.split())
            self.assertIn("line 1 is entry 3, entry 1 was expected: 2 are missing at its begin", said)
            self.assertIn("Entries 4 to ", said)
        whole = json.loads(subprocess.run([*words, "--json"], capture_output=True, text=True).stdout)
        self.assertEqual((whole["whole_from"], whole["whole_to"]), (4, whole["list"][-1]["number"]))
        audit = json.loads(self.pool.coffer("--json", "key", "report", "-"))["audit"]
        self.assertEqual((audit["whole_from"], audit["whole_to"]), (4, whole["list"][-1]["number"]))
        said = self.pool.coffer("key", "report", "-")
        self.assertIn(f"{len(whole['list'])}, up to number {whole['anchored']} known apart from the file", said)
        self.assertGreater(whole["anchored"], len(whole["list"]))
        self.assertIn(f"numbers 4 to {audit['whole_to']}, the last ones", said)
        restored = [entry for entry in whole["list"] if entry["operation"] == "pool.restore"]
        self.assertEqual([(entry["offline"], entry["proved"]) for entry in restored], [(True, False)])
        self.assertTrue(restored[0]["result"].startswith("ok; offline, unproven, 2"), restored)

    def test_what_is_wrong_with_a_backup_is_told(self):
        self.backup()
        self.write(self.password, "wrong\n")
        answer = self.verify()
        self.assertEqual(answer.returncode, REFUSED)
        self.assertIn("the passphrase is not that of the backup", answer.stderr)
        self.write(self.password, "correct horse\n")
        with open(self.file, "rb") as file:
            whole = file.read()
        for text, said in ((whole[:-1], "make a new backup"), (whole[:300], "cut off"), (whole + b"x", "behind the end"),
                           (whole[:-5] + b"x" + whole[-4:], "damaged"), (b"PK" + whole[2:], "no backup of a pool directory"),
                           (whole[:8] + b"\2" + whole[9:], "this version of Coffer knows 1")):
            with open(self.file, "wb") as file:
                file.write(text)
            answer = self.verify()
            self.assertIn(said, answer.stderr)
            self.assertNotEqual(answer.returncode, 0)
        with open(self.file, "wb") as file:
            file.write(whole)
        other = Pool("300M")
        answer = self.verify("-C", other.directory)
        self.assertEqual(answer.returncode, REFUSED, answer)
        self.assertIn("is a backup of another pool", answer.stderr)
        shutil.rmtree(self.directory)
        shutil.copy(other.disk, self.disk)
        other.remove()
        self.assertIn("belongs to another pool", self.restore_refused())
        self.assertFalse(os.path.exists(self.directory))
        os.remove(self.disk)  # one that is not there may come later
        self.assertIn(self.disk, self.restore())

    def test_a_changed_device_is_named_by_its_path(self):
        self.backup()
        self.pool.start()
        self.pool.coffer("key", "rekey", "--shallow")  # the key file stays
        answer = self.verify("-C", self.directory)
        self.assertEqual(answer.returncode, DIFFERS, answer)
        self.assertEqual(json.loads(answer.stdout)["differs"], "the superblock of device " + self.disk)

    def test_a_backup_goes_to_no_pipe_and_not_into_the_pool_directory(self):
        for path, said in (("-", "goes to no pipe"), (self.path("backup"), "lies in the pool directory")):
            self.assertIn(said, self.pool.refused("backup", path, "--passphrase-file", self.password))
        self.assertEqual(sorted(os.listdir(self.directory)), ["coffer.conf", "native.key", "witness"])

    def test_a_key_that_lay_elsewhere_is_told(self):
        stick, conf = os.path.join(self.pool.base, "stick.key"), self.path("coffer.conf")
        os.rename(self.path("native.key"), stick)
        with open(conf) as file:
            text = file.read()
        self.assertIn("path = native.key", text)
        self.write(conf, text.replace("path = native.key", "path = " + stick))
        self.backup()
        shutil.rmtree(self.directory)
        self.assertIn("Not in the backup: the key file of provider native. What lies at " + stick, " ".join(self.restore().split()))
        shutil.rmtree(self.directory)
        os.rename(stick, stick + ".away")
        said = " ".join(self.restore().split())
        self.assertIn("Not in the backup and not there: the key file of provider native.", said)
        self.assertIn("put it at " + stick + " before cofferd starts", said)
        os.rename(stick + ".away", stick)
        self.pool.start("--accept-rollback")
        self.pool.stop()

    def test_a_restore_goes_on_after_a_crash(self):
        self.backup()
        with open(self.path("native.key"), "rb") as key:
            text = key.read().decode()
        shutil.rmtree(self.directory)
        os.mkdir(self.directory, 0o700)
        unfinished = self.path(".coffer-unfinished-0123456789abcdef")
        self.write(unfinished, text[:9])
        self.write(self.path("native.key"), text)
        self.restore()
        self.assertFalse(os.path.exists(unfinished))

    def test_keys_of_a_kept_root_open_after_a_restore(self):
        self.backup()
        self.pool.start()
        self.pool.coffer("key", "rekey", "--shallow")
        self.pool.stop()
        shutil.rmtree(self.directory)
        self.restore()
        self.pool.start("--accept-rollback")
        self.assertFalse(self.pool.status()["locked"])
        self.pool.stop()

    def test_keys_of_before_are_told(self):
        self.backup()
        self.pool.start()
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        answer = self.verify("-C", self.directory)
        self.assertEqual(answer.returncode, DIFFERS, answer)
        self.assertIn("native.key", json.loads(answer.stdout)["differs"])
        self.pool.stop()
        shutil.rmtree(self.directory)
        self.restore()
        self.pool.start("--accept-rollback")
        self.assertTrue(self.pool.status()["locked"])


if __name__ == "__main__":
    unittest.main()
