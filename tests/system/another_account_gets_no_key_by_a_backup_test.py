#!/usr/bin/python3
"""What another account put into the place of a restored pool directory, a directory below, a file with the same bytes, a second
name of one, is refused, and gets no key; nor does a backup take what links of the directory's owner lead to."""
import ctypes
import os
import shutil
import subprocess
import time
import unittest

from coffer import COFFER, PATIENCE, SANITIZED, Pool, run

SOMEBODY = 65534
HERE, EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
TLS = """
[provider kms]
id = 11111111-2222-4333-8444-555555555555
type = kmip
servers = kms.example
ca = tls/ca.pem
certificate = tls/host.pem
key = tls/host.key
"""


class NoKeyForAnotherAccount(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(create=False)
        self.directory = self.pool.directory
        self.password, self.file, self.disk = (os.path.join(self.pool.base, name) for name in ("password", "backup", "disk"))
        self.write(self.password, b"correct horse\n")
        run("truncate", "--size", "300M", self.disk)
        self.pool.coffer("create", self.directory, "--group", "g1=" + self.disk)
        os.mkdir(self.path("tls"))
        with open(self.path("coffer.conf"), "a") as conf:
            conf.write(TLS)
        for name in ("ca.pem", "host.pem", "host.key"):
            self.write(self.path("tls", name), b"secret of " + name.encode())

    def tearDown(self):
        self.pool.remove()

    def write(self, path, data):
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o600)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def backup(self):
        self.pool.coffer("backup", self.file, "--passphrase-file", self.password)

    def backup_refused(self):
        said = self.pool.refused("backup", self.file, "--passphrase-file", self.password)
        self.assertFalse(os.path.exists(self.file))
        return said

    def lose(self):
        with open(self.path("native.key"), "rb") as key:
            self.key = key.read()
        shutil.rmtree(self.directory)
        os.mkdir(self.directory, 0o700)

    def restore_words(self):
        return ("restore", self.file, self.directory, "--passphrase-file", self.password)

    def refused(self, said):
        before = sorted(os.listdir(self.directory))
        self.assertIn(said, self.pool.refused(*self.restore_words()))
        self.assertEqual(sorted(set(os.listdir(self.directory)) - {"tls"}), sorted(set(before) - {"tls"}))

    def test_others_may_not_write_to_what_is_there(self):
        self.backup()
        self.lose()
        os.mkdir(self.path("tls"))
        os.chmod(self.path("tls"), 0o770)
        self.refused("others may write to it")
        os.chmod(self.path("tls"), 0o700)
        self.write(self.path("native.key"), self.key)
        os.chmod(self.path("native.key"), 0o620)
        self.refused("others may write to it")
        os.chmod(self.path("native.key"), 0o600)
        other = os.path.join(self.pool.base, "other")
        os.link(self.path("native.key"), other)
        self.refused("has another name besides")
        os.remove(other)
        os.symlink(self.pool.base, self.path("tls", "link"))
        os.rename(self.path("tls"), self.path("moved"))
        os.rename(self.path("moved", "link"), self.path("tls"))
        os.rmdir(self.path("moved"))
        self.refused("tls is no directory")
        os.remove(self.path("tls"))
        self.pool.coffer(*self.restore_words())

    @unittest.skipUnless(os.geteuid() == 0, "gives files away")
    def test_what_is_somebody_elses_is_refused(self):
        self.backup()
        self.lose()
        os.mkdir(self.path("tls"), 0o700)
        os.chown(self.path("tls"), SOMEBODY, SOMEBODY)
        self.refused("belongs to user 65534")
        self.assertEqual(os.listdir(self.path("tls")), [])
        os.rmdir(self.path("tls"))
        self.write(self.path("native.key"), self.key)
        os.chown(self.path("native.key"), SOMEBODY, SOMEBODY)
        self.refused("belongs to user 65534")
        os.chown(self.path("native.key"), 0, 0)
        self.pool.coffer(*self.restore_words())

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("strace") and not SANITIZED, "stops root's command midway")
    def test_a_directory_that_takes_the_name_meanwhile_gets_nothing(self):
        """Whenever the names are exchanged; the delay makes it likely that this is behind the look at the directory."""
        self.backup()
        parent, evil = os.path.join(self.pool.base, "parent"), os.path.join(self.pool.base, "parent", "evil")
        os.makedirs(evil)
        os.chown(evil, SOMEBODY, SOMEBODY)
        fresh = os.path.join(parent, "pool")
        command = subprocess.Popen(["strace", "-o", os.devnull, "-e", "trace=fchmod", "-e", "inject=fchmod:delay_exit=1000000:when=1",
                                    COFFER, "restore", self.file, fresh, "--passphrase-file", self.password],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.pool.environment)
        while not os.path.exists(fresh) and command.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2)
        self.assertEqual(ctypes.CDLL(None).renameat2(HERE, fresh.encode(), HERE, evil.encode(), EXCHANGE), 0)
        said = command.communicate(timeout=PATIENCE)[1]
        self.assertNotEqual(command.returncode, 0, said)
        self.assertEqual(os.listdir(fresh), [])  # the other's, under the name that was typed
        self.assertEqual([names for _, _, names in os.walk(parent) if names], [], said)

    @unittest.skipUnless(os.geteuid() == 0, "gives files away")
    def test_links_of_the_owner_are_not_followed(self):
        secret = os.path.join(self.pool.base, "secret")
        self.write(secret, b"of root")
        for name in ("recovery.json", "key-dates", "audit"):
            kept = self.path(name) + ".kept"
            there = os.path.exists(self.path(name))
            if there:
                os.rename(self.path(name), kept)
            os.symlink(secret, self.path(name))
            self.assertIn(name + " is a symbolic link", self.backup_refused())
            os.remove(self.path(name))
            if there:
                os.rename(kept, self.path(name))
        run("chown", "-R", str(SOMEBODY), self.directory)
        os.link(secret, self.path("recovery.json"))
        self.assertIn("recovery.json belongs to user 0 and has another name besides", self.backup_refused())
        os.remove(self.path("recovery.json"))
        self.write(self.path("recovery.json"), b"of somebody else")
        os.chown(self.path("recovery.json"), SOMEBODY - 1, SOMEBODY - 1)
        self.assertIn("recovery.json belongs to user 65533", self.backup_refused())


if __name__ == "__main__":
    unittest.main()
