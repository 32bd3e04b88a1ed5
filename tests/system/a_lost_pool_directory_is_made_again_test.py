#!/usr/bin/python3
"""From a backup of the key and the disks alone the pool directory comes back, also where the disks moved; without the word that
gives up the witness, with another pool's disks, or with one disk missing, nothing is made."""
import os
import shutil
import subprocess
import unittest

from coffer import COFFER, MIB, Pool, connect, run

Pool.learns = True

REFUSED, USAGE = 3, 2


class LostDirectoryIsMadeAgain(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(create=False)
        self.password, self.file = os.path.join(self.pool.base, "password"), os.path.join(self.pool.base, "pool.p12")
        with open(self.password, "w") as file:
            file.write("correct horse\n")
        os.chmod(self.password, 0o600)
        self.disks = [os.path.join(self.pool.base, name) for name in ("disk1", "disk2")]
        for disk in self.disks:
            run("truncate", "--size", "300M", disk)

    def tearDown(self):
        self.pool.remove()

    def make(self, *words, rewrite=None):
        self.pool.coffer("create", self.pool.directory, "--group", "g1=" + ",".join(self.disks), *words)
        if rewrite:
            path = os.path.join(self.pool.directory, "coffer.conf")
            with open(path) as file:
                lines = [rewrite(line) for line in file]
            with open(path, "w") as file:
                file.writelines(lines)
        secret = ("--passphrase-file", self.password) if "passphrase" in words else ()
        self.pool.start(*secret)
        self.pool.create_object("disk", MIB)
        handle = connect(self.pool, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()
        self.pool.coffer("key", "backup", self.file, "--password-file", self.password, *secret)
        self.pool.stop()
        self.conf = self.read("coffer.conf")
        self.key = self.read("native.key")
        shutil.rmtree(self.pool.directory)

    def read(self, name):
        with open(os.path.join(self.pool.directory, name), "rb") as file:
            return file.read()

    def words(self, *more):
        return ("import", self.pool.directory, "--key", self.file, "--password-file", self.password, *more)

    def nothing_there(self):
        self.assertFalse(os.path.exists(self.pool.directory))

    def serves(self):
        self.pool.start()
        handle = connect(self.pool, "disk")
        self.assertEqual(bytes(handle.pread(4, 0)), b"here")
        handle.shutdown()
        self.pool.stop()
        self.pool.check()

    def test_from_the_disks_where_they_were(self):
        self.make()
        self.assertIn("--accept-rollback", self.pool.refused(*self.words(), status=REFUSED))
        self.nothing_there()
        self.assertIn("`coffer key audit` says", self.pool.coffer(*self.words("--accept-rollback")))
        self.assertEqual(self.read("coffer.conf"), self.conf)
        self.assertEqual(self.read("native.key"), self.key)
        self.assertIn("is not lost", self.pool.refused(*self.words("--accept-rollback")))
        self.serves()
        for _ in range(2):  # for ever
            self.pool.start()
            self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "ok")
            answer = subprocess.run([COFFER, "-C", self.pool.directory, "key", "audit"], capture_output=True, text=True)
            self.assertEqual(answer.returncode, 1, answer)
            self.assertIn("expected", answer.stdout + answer.stderr)
            self.pool.stop()

    def test_from_disks_that_moved(self):
        self.make()
        moved = [disk + ".moved" for disk in self.disks]
        for before, after in zip(self.disks, moved):
            os.rename(before, after)
        self.assertIn(self.disks[0], self.pool.refused(*self.words("--accept-rollback")))
        self.assertIn("name all of them", self.pool.refused(*self.words("--accept-rollback", "--scan", moved[1])))
        run("cp", "--sparse=always", moved[0], self.disks[0])
        self.assertIn("one is a copy", self.pool.refused(*self.words("--accept-rollback", "--scan", moved[0], "--scan",
                                                                     self.disks[0], "--scan", moved[1])))
        other = Pool("300M")
        self.assertIn("no device of the pool", self.pool.refused(*self.words("--accept-rollback", "--scan", other.disk, "--scan",
                                                                             moved[1]), status=REFUSED))
        other.remove()
        self.nothing_there()
        self.pool.coffer(*self.words("--accept-rollback", "--scan", moved[1], "--scan", moved[0]))
        conf = self.read("coffer.conf").decode()
        self.assertLess(conf.index(moved[0]), conf.index(moved[1]))
        self.assertEqual(conf.count("device-ids"), 2)
        self.assertEqual(conf.count("#"), self.conf.decode().count("#"))
        self.serves()

    def test_from_disks_that_moved_where_the_lines_of_the_conf_are_indented(self):
        """The disks at the old paths are there as well: a copy of the day before, on disks that fail."""
        self.make(rewrite=lambda line: "  " + line.replace(" = ", ": ", 1))
        self.assertIn("  [group g1]", self.conf.decode())
        moved = [disk + ".moved" for disk in self.disks]
        for before, after in zip(self.disks, moved):
            run("cp", "--sparse=always", before, after)
        self.pool.coffer(*self.words("--accept-rollback", "--scan", moved[0], "--scan", moved[1]))
        conf = self.read("coffer.conf").decode()
        self.assertIn(moved[0] + "\n", conf)
        self.assertIn(moved[1] + "\n", conf)
        for disk in self.disks:
            os.remove(disk)
        self.serves()

    def refused(self, *more, status=None):
        return self.pool.refused(*self.words("--accept-rollback", *more), status=status)

    def test_a_directory_with_other_things_in_it_is_left_alone(self):
        self.make()
        directory = self.pool.directory
        os.mkdir(directory, 0o755)
        os.chmod(directory, 0o755)
        with open(os.path.join(directory, "letter"), "w"):
            pass
        self.assertIn("is not empty (letter)", self.refused())
        self.assertEqual((os.listdir(directory), os.stat(directory).st_mode & 0o777), (["letter"], 0o755))
        os.remove(os.path.join(directory, "letter"))
        os.rename(directory, directory + ".real")
        os.symlink(directory + ".real", directory)
        self.assertIn("symbolic link", self.refused())
        self.assertEqual((os.listdir(directory), os.stat(directory).st_mode & 0o777), ([], 0o755))
        os.remove(directory)
        os.rename(directory + ".real", directory)
        if os.geteuid() == 0:
            os.chown(directory, 12345, 12345)
            self.assertIn("belongs to user 12345", self.refused())
            self.assertEqual((os.listdir(directory), os.stat(directory).st_mode & 0o777), ([], 0o755))
            os.chown(directory, 0, 0)
        moved = [os.path.join(directory, os.path.basename(disk)) for disk in self.disks]
        for before, after in zip(self.disks, moved):
            os.rename(before, after)
        self.pool.coffer(*self.words("--accept-rollback", "--scan", moved[0], "--scan", moved[1]))
        self.assertEqual(os.stat(directory).st_mode & 0o777, 0o700)
        self.assertEqual(self.read("native.key"), self.key)
        self.serves()

    def is_locked(self, path):
        """By anybody, as the kernel lists it."""
        with open("/proc/locks") as locks:
            return f":{os.stat(path).st_ino} " in locks.read()

    def test_another_directory_in_its_place_is_not_opened(self):
        """Exchanged when the open that makes the witness has the disks; it waits in a message, for its standard error is full."""
        self.make()
        directory = self.pool.directory
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(writer, b"x")
        os.set_blocking(writer, True)
        process = subprocess.Popen([COFFER, *self.words("--accept-rollback")], stdout=subprocess.DEVNULL, stderr=writer,
                                   env=self.pool.environment)
        os.close(writer)
        while not os.path.exists(os.path.join(directory, "coffer.conf")) or not self.is_locked(self.disks[0]):
            self.assertIsNone(process.poll())
        os.rename(directory, directory + ".mine")
        os.mkdir(directory)
        with open(os.path.join(directory, "native.key"), "w") as file:
            file.write("another pool's")
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read().decode().lstrip("x")
        self.assertNotEqual(process.wait(), 0)
        self.assertIn(f"pool {directory}: a new witness is made", said)
        self.assertIn("another directory took the name", " ".join(said.split()))
        self.assertNotIn("/proc/", said)
        self.assertEqual(self.read("native.key"), b"another pool's")
        self.assertEqual(os.listdir(directory), ["native.key"])
        self.assertEqual({"coffer.conf", "native.key"} & set(os.listdir(directory + ".mine")), set())
        shutil.rmtree(directory + ".mine")

    def test_a_wrong_key_file_that_lies_there_is_told(self):
        """Another pool's, and an older one of this pool; the right one is left as it is."""
        self.make()
        os.mkdir(self.pool.directory)
        key, other = os.path.join(self.pool.directory, "native.key"), Pool("300M")
        shutil.copy(os.path.join(other.directory, "native.key"), key)
        other.remove()
        said = self.refused()
        self.assertIn("another pool", said)
        self.assertIn("move away", said)
        self.assertEqual(os.listdir(self.pool.directory), ["native.key"])
        os.remove(key)
        self.pool.coffer(*self.words("--accept-rollback"))
        self.pool.start()
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        self.file += ".2"
        self.pool.coffer("key", "backup", self.file, "--password-file", self.password)
        self.pool.stop()
        new = self.read("native.key")
        for there, fits in ((self.key, False), (new, True)):
            shutil.rmtree(self.pool.directory)
            os.mkdir(self.pool.directory)
            with open(key, "wb") as file:
                file.write(there)
            os.chmod(key, 0o600)
            if not fits:
                self.assertIn("holds another key than the backup", self.refused())
                self.assertEqual(os.listdir(self.pool.directory), ["native.key"])
        self.pool.coffer(*self.words("--accept-rollback"))
        self.assertEqual(self.read("native.key"), new)
        self.serves()

    def test_a_key_that_is_not_theirs_makes_nothing(self):
        self.make()
        with open(self.password, "w") as file:
            file.write("wrong\n")
        self.assertIn("wrong password", self.pool.refused(*self.words("--accept-rollback"), status=REFUSED))
        self.nothing_there()
        self.assertIn("--key", self.pool.refused("import", self.pool.directory, "--accept-rollback", status=USAGE))
        self.nothing_there()

    def test_under_a_passphrase_a_new_one_is_taken(self):
        self.make("--seal", "passphrase", "--passphrase-file", self.password)
        self.pool.coffer(*self.words("--accept-rollback", "--passphrase-file", self.password))
        self.pool.start("--passphrase-file", self.password)
        self.assertFalse(self.pool.status()["locked"])


if __name__ == "__main__":
    unittest.main()
