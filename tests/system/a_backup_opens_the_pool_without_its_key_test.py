#!/usr/bin/python3
"""A backup of the key opens the pool when its key file is gone, is proved by a drill and becomes a key file again; and what is
no backup of this pool's key is refused, each for its own reason, with nothing changed."""
import os
import shutil
import subprocess
import time
import unittest

from coffer import COFFER, Pool, need, run

Pool.learns = True

REFUSED, USAGE = 3, 2
PASSWORD = "correct horse battery"


def with_count(data, old, new):
    """The DER of a backup with another iteration count, lengths made right: nothing else changes."""

    def length(size):
        if size < 128:
            return bytes([size])
        text = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return bytes([0x80 | len(text)]) + text

    def walk(part):
        out, at = b"", 0
        while at < len(part):
            tag, first = part[at], part[at + 1]
            at += 2
            size = first
            if first & 0x80:
                size = int.from_bytes(part[at:at + (first & 0x7f)], "big")
                at += first & 0x7f
            value = part[at:at + size]
            at += size
            if tag & 0x20 or (tag == 4 and value[:1] == b"\x30" and len(value) > 1000):
                value = walk(value)
            elif tag == 2 and int.from_bytes(value, "big") == old:
                value = new.to_bytes(5, "big")
            out += bytes([tag]) + length(len(value)) + value
        return out

    return walk(data)


class BackupOpensThePool(unittest.TestCase):
    def setUp(self):
        self.pool = Pool("512M")
        self.pool.start()
        self.pool.fill()
        self.key = os.path.join(self.pool.directory, "native.key")
        self.password = self.pool.secret("password", PASSWORD)
        self.file = os.path.join(self.pool.base, "pool.p12")

    def tearDown(self):
        self.pool.remove()

    def backup(self, *words):
        return self.pool.json("key", "backup", self.file, "--password-file", self.password, *words)

    def drill(self, file=None):
        return self.pool.json("key", "drill", file or self.file, "--password-file", self.password)

    def refused(self, verb, file, *words, password=None, status=REFUSED):
        return self.pool.refused("key", verb, file, "--password-file", password or self.password, *words, status=status)

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def state(self):
        """What no refusal may change. The witness rises, and the audit grows, with each try."""
        return {path: self.read(path) for path in self.pool.files()
                if os.path.basename(path) in ("coffer.conf", "native.key", "key-dates", "recovery.json")}

    def test_it_is_made_beside_a_daemon_and_openssl_reads_it(self):
        need("openssl")
        self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "warning")
        told = self.backup()
        self.assertEqual((told["key"], told["devices"], told["key_slots"]), ("kdk", 1, 3))
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "ok")
        self.assertTrue(self.pool.json("key", "status")["backup"]["current"])
        said = subprocess.run(["openssl", "pkcs12", "-info", "-in", self.file, "-passin", "file:" + self.password, "-nokeys"],
                              capture_output=True, text=True, check=True)
        shown = said.stdout + said.stderr
        self.assertIn("MAC: sha256, Iteration 1200000", shown)
        self.assertIn("PBES2, PBKDF2, AES-256-CBC, Iteration 600000, PRF hmacWithSHA256", shown)
        self.assertIn(f"friendlyName: coffer native {told['pool']}", shown)
        self.assertIn("localKeyID: " + " ".join(told["kcv"][i:i + 2].upper() for i in range(0, 16, 2)), shown)
        self.assertEqual(shown.count("salt length: 16"), 1)

    def test_it_opens_a_pool_whose_key_file_is_lost(self):
        self.backup()
        self.pool.stop()
        lost = self.read(self.key)
        os.remove(self.key)
        self.pool.start()
        self.assertIn("no " + self.key, self.pool.refused("unlock"))
        self.pool.coffer("unlock", "--key", self.file, "--password-file", self.password)
        self.pool.serves()
        self.assertEqual(self.drill()["key_slots"], 3)
        self.pool.coffer("lock")
        self.assertIn("wrong password", self.pool.refused("unlock", "--key", self.file, "--password-file",
                                                          self.pool.secret("wrong", "correct horse"), status=REFUSED))
        self.pool.coffer("key", "restore", self.file, "--to", self.key, "--password-file", self.password)
        self.assertEqual(self.read(self.key), lost)
        self.assertEqual(os.stat(self.key).st_mode & 0o777, 0o600)
        self.pool.coffer("unlock")
        self.pool.serves()
        sealed, phrase = os.path.join(self.pool.base, "sealed.key"), self.pool.secret("phrase", "open sesame")
        self.pool.coffer("key", "restore", self.file, "--to", sealed, "--password-file", self.password, "--seal", "passphrase",
                         "--passphrase-file", phrase)
        self.pool.stop()
        os.replace(sealed, self.key)
        conf = os.path.join(self.pool.directory, "coffer.conf")
        text = self.read(conf).decode()
        with open(conf, "w") as file:
            file.write(text.replace("seal = file", "seal = passphrase"))
        self.pool.start("--passphrase-file", phrase)
        self.pool.serves()
        with open(self.pool.messages) as file:
            self.assertNotIn(PASSWORD, file.read())

    def test_a_change_of_keys_outdates_it_only_with_a_new_root(self):
        self.backup()
        self.pool.coffer("key", "rekey", "--shallow")
        self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "ok")
        told = self.drill()
        self.assertEqual((told["kek_number"], told["kek_number_in_force"], told["of_key_in_force"]), (1, 2, True))
        self.pool.stop()
        disk, old = self.pool.disk, os.path.join(self.pool.base, "old")
        shutil.copy(disk, old)
        self.pool.start()
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        missing = self.pool.health()["BACKUP_MISSING"]
        self.assertEqual(missing["severity"], "warning")
        self.assertIn("another key", missing["evidence"])
        self.assertIn("key backup", missing["command"])
        before = self.state()
        self.assertIn("newer key", self.refused("drill", self.file))
        self.pool.coffer("lock")
        self.pool.refused("unlock", "--key", self.file, "--password-file", self.password, status=REFUSED)
        self.assertEqual(self.state(), before)
        self.pool.coffer("unlock")
        self.file += ".2"
        self.backup()
        self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "ok")
        self.assertTrue(self.drill()["of_key_in_force"])
        self.pool.stop()
        shutil.copy(old, disk)  # an older day, which the first backup opens
        self.file = self.file[:-2]
        answer = subprocess.run([COFFER, "-C", self.pool.directory, "key", "drill", self.file, "--password-file", self.password],
                                capture_output=True, text=True, env=self.pool.environment)
        self.assertEqual(answer.returncode, 1, answer)
        self.assertIn("the witness names key number 3, made of another root", answer.stdout)

    def assert_outdated(self, outdated):
        """By health and by `key status`, of the backup and of the recovery key."""
        health, status = self.pool.health(), self.pool.json("key", "status")
        self.assertEqual(health["BACKUP_MISSING"]["severity"], "warning" if outdated else "ok")
        self.assertEqual(health["RECOVERY_OUTDATED"]["severity"], "warning" if outdated else "ok")
        self.assertEqual((status["backup"]["current"], status["recovery"]["current"]), (not outdated, not outdated))

    def test_whether_it_is_outdated_does_not_hang_on_the_key_file(self):
        recovery = os.path.join(self.pool.base, "recovery")
        self.backup()
        self.pool.coffer("key", "recovery", "--to", recovery)
        old = self.read(self.key).decode().strip()
        self.assert_outdated(False)
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        self.assert_outdated(True)
        new = self.read(self.key).decode().strip()
        self.pool.secret(self.key, old)
        self.assert_outdated(True)
        os.remove(self.key)
        self.assert_outdated(True)
        self.pool.secret(self.key, new)
        self.file += ".2"
        self.backup()
        self.pool.coffer("key", "recovery", "--to", recovery + ".2")
        self.assert_outdated(False)
        for there in (None, old):
            self.pool.stop()
            os.remove(self.key)
            if there:
                self.pool.secret(self.key, there)
            self.pool.start()
            self.assert_outdated(False)
            self.pool.coffer("unlock", "--key", self.file, "--password-file", self.password)
            self.assert_outdated(False)
            self.pool.secret(self.key, new)

    def test_what_is_no_backup_of_this_pool_is_refused(self):
        self.backup()
        before = self.state()
        self.assertIn("exists already", self.refused("backup", self.file, status=None))
        self.assertIn("wrong password", self.refused("drill", self.file, password=self.pool.secret("wrong", "correct horse")))
        data = self.read(self.file)
        for name, bad, why in (("cut", data[:-100], "only a part"), ("empty", b"", "no PKCS#12 file"),
                               ("text", b"not a backup at all\n", "no PKCS#12 file"),
                               ("longer", data + b"\0", "no PKCS#12 file"),
                               ("changed", data[:900] + bytes([data[900] ^ 1]) + data[901:], "was changed")):
            path = os.path.join(self.pool.base, name)
            with open(path, "wb") as file:
                file.write(bad)
            for verb, more in (("drill", ()), ("restore", ("--to", os.path.join(self.pool.base, "never")))):
                said = self.pool.refused("key", verb, path, "--password-file", self.password, *more)
                self.assertIn(why, said)
                self.assertIn(path, said)
        self.assertFalse(os.path.exists(os.path.join(self.pool.base, "never")))
        for old, what in ((600000, "encryption"), (1200000, "MAC")):
            path = os.path.join(self.pool.base, "costly")
            with open(path, "wb") as file:
                file.write(with_count(data, old, 1 << 36))
            begin = time.monotonic()
            self.assertIn(f"10000000 iterations for its {what} are refused", self.refused("drill", path, status=None))
            self.assertLess(time.monotonic() - begin, 60)  # not a measurement: the work asked for takes hours
        self.assertIn("No such file", self.pool.refused("key", "drill", self.file + ".none", "--password-file", self.password))
        self.assertEqual(self.state(), before)

    def test_the_one_pool_that_runs_needs_not_be_named(self):
        here = (COFFER, "key")
        password = ("--password-file", self.password)
        for words in (("backup", self.file, *password), ("drill", self.file, *password),
                      ("recovery", "--to", os.path.join(self.pool.base, "recovery"))):
            run(*here, *words, env=self.pool.environment)
        self.pool.stop()
        said = subprocess.run([*here, "drill", self.file, *password], capture_output=True, text=True, env=self.pool.environment)
        self.assertEqual(said.returncode, 1, said)
        self.assertIn("no pool runs here", said.stderr)

    def test_another_pools_backup_is_foreign(self):
        other = Pool("512M")
        other.coffer("key", "backup", self.file, "--password-file", self.password)
        said = self.refused("drill", self.file)
        self.assertIn("another pool", said)
        self.pool.coffer("lock")
        self.assertIn("another pool", self.pool.refused("unlock", "--key", self.file, "--password-file", self.password,
                                                        status=REFUSED))
        self.assertTrue(self.pool.status()["locked"])
        other.remove()

    def test_a_pkcs12_file_of_others_is_foreign(self):
        need("openssl")
        base = self.pool.base
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            base + "/k.pem", "-out", base + "/c.pem", "-subj", "/CN=x", "-days", "1")
        for name, words in (("both", ("-inkey", base + "/k.pem")), ("certificate", ("-nokeys",))):
            path = os.path.join(base, name)
            run("openssl", "pkcs12", "-export", "-in", base + "/c.pem", *words, "-passout", "file:" + self.password, "-out", path)
            self.assertIn("none that `coffer key backup` wrote", self.refused("drill", path))

    def test_a_place_that_cannot_be_written_is_told(self):
        before = self.state()
        for place in ("/proc/pool.p12", os.path.join(self.pool.base, "none", "pool.p12"), self.password + "/pool.p12"):
            self.assertIn(place, self.refused("backup", place, status=None))
        for place in (os.path.join(self.pool.directory, "pool.p12"), self.key + ".p12"):
            self.assertIn("lies in the pool directory", self.refused("backup", place, status=USAGE))
        self.assertEqual(self.state(), before)
        self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "warning")

    def test_a_passphrase_of_the_pool_is_asked_for_too(self):
        phrase = self.pool.secret("phrase", "open sesame")
        other = Pool("512M", "--seal", "passphrase", "--passphrase-file", phrase)
        other.refused("key", "backup", self.file, "--password-file", self.password, "--passphrase-file",
                      self.pool.secret("wrong", "open barley"), status=REFUSED)
        self.assertFalse(os.path.exists(self.file))
        other.coffer("key", "backup", self.file, "--password-file", self.password, "--passphrase-file", phrase)
        other.coffer("key", "drill", self.file, "--password-file", self.password)
        other.remove()

    def test_a_pool_without_encryption_has_nothing_to_keep(self):
        other = Pool("512M", "--no-encryption")
        said = other.refused("key", "backup", self.file, "--password-file", self.password, status=USAGE)
        self.assertIn("not encrypted", said)
        other.remove()

    def test_it_does_not_go_onto_a_disk_of_the_pool(self):
        need("nbdfuse", "mkfs.ext4", "losetup")
        if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
            self.skipTest("needs root, fuse and loop devices")
        self.pool.coffer("object", "create", "big", "--size", "64M")
        mount, inner = os.path.join(self.pool.base, "fuse"), os.path.join(self.pool.base, "inner")
        os.mkdir(mount)
        os.mkdir(inner)
        fuse = subprocess.Popen(["nbdfuse", mount, self.pool.uri("big")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                if os.path.exists(mount + "/nbd"):
                    break
                time.sleep(0.05)
            if subprocess.run(["mkfs.ext4", "-q", mount + "/nbd"], capture_output=True).returncode != 0 or \
                    subprocess.run(["mount", "-o", "loop", mount + "/nbd", inner], capture_output=True).returncode != 0:
                self.skipTest("no loop mount here")
            said = self.refused("backup", inner + "/pool.p12", status=USAGE)
            self.assertIn("which may be a disk of this very pool", said)
            self.assertEqual(os.listdir(inner), ["lost+found"])
        finally:
            subprocess.run(["umount", inner], capture_output=True)
            subprocess.run(["umount", "-l", mount], capture_output=True)
            fuse.kill()
            fuse.wait()


if __name__ == "__main__":
    unittest.main()
