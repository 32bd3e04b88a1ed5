#!/usr/bin/python3
"""From each key provider and seal to each other one and back, while clients write, flush and read: none of them sees an error;
a restart opens the pool; so does one after the old provider's keys were ended. What a provider is still needed for is said."""
import os
import unittest

from coffer import COFFER, MIB, SANITIZED, need
from keys_clients import compare, run_beside
from kmip_servers import KmipPool
from tpm import Tpm

KmipPool.learns = True

DISK = 32 * MIB
# Each ordered pair of the four once, and back at the beginning.
WAY = ["native", "words", "native", "board", "native", "kms", "words", "board", "words", "kms", "board", "kms", "native"]
if SANITIZED: # each as the old one and as the new one: of the pairs it would learn nothing more, in minutes
    WAY = ["native", "words", "board", "kms", "native"]
REFUSED = 3


class Providers(unittest.TestCase):
    def setUp(self):
        need("swtpm")
        self.tpm = Tpm()  # for each: a daemon that is killed while it asks leaves objects there
        self.addCleanup(self.tpm.remove)
        self.pool = KmipPool()
        self.server = self.pool.server().start()
        self.secret = os.path.join(self.pool.base, "secret")
        self.wrong = os.path.join(self.pool.base, "wrong")
        for path, text in (self.secret, "correct horse\n"), (self.wrong, "correct house\n"):
            with open(path, "w") as file:
                file.write(text)
        self.pool.run(COFFER, "create", self.pool.directory, "--size", "512M")
        self.add_all()

    def tearDown(self):
        self.server.stop()
        self.pool.remove()

    def provider(self, *words):
        return self.pool.json("key", "provider", *words)

    def add_all(self):
        certificates = self.pool.certificates
        self.provider("add", "words", "--type", "native", "--seal", "passphrase")
        self.provider("add", "board", "--type", "native", "--seal", "tpm", "--tcti", self.tpm.tcti)
        self.provider("add", "kms", "--type", "kmip", "--servers", self.server.address, "--ca", certificates.path("ca.pem"),
                      "--certificate", certificates.path("client.pem"), "--key", certificates.path("client.key"))

    def start(self):
        self.pool.start("--passphrase-file", self.secret)

    def words_for(self, old, new):
        return ((["--passphrase-file", self.secret] if old == "words" else []) +
                (["--new-passphrase-file", self.secret] if new == "words" else []) +
                {"board": ["--no-copy"], "kms": ["--no-recovery"]}.get(new, []))

    def use(self, old, new, *more):
        return self.provider("use", new, *self.words_for(old, new), *more)

    def in_force(self):
        rows = self.provider("list")["providers"]
        current = [row["name"] for row in rows if row["current"]]
        self.assertEqual(current, [row["name"] for row in rows if row["in_force"]])
        self.assertEqual(current, [self.pool.json("key", "status")["provider"]])
        return current[0]

    def restart(self):
        self.pool.stop()
        self.start()

    def test_each_to_each_and_back(self):
        self.start()
        self.pool.create_object("disk", DISK)
        clients = []
        for number, (old, new) in enumerate(zip(WAY, WAY[1:]), 2):
            with self.subTest(old=old, new=new):
                answer, clients = run_beside(self.pool, DISK, clients, lambda: self.use(old, new))
                self.assertEqual((answer["provider"], answer["kek_number"]), (new, number))
                self.assertEqual(answer["retained"], [dict(one) for one in answer["retained"] if one["provider"] == old])
                self.restart()
                self.assertEqual(self.in_force(), new)
                compare(self.pool, clients)
                retired = self.pool.json("key", "retire", "--destroy")
                self.assertEqual(retired, {"keys": 1, "destroyed": True})
                kept = [path for path in self.pool.files() if path.endswith(".key")]
                self.assertEqual([os.path.basename(path) for path in kept], [] if new == "kms" else [new + ".key"])
                self.assertEqual(len(self.server.ids()), new == "kms")
                self.assertEqual(self.pool.json("key", "status")["retained"], [])
                self.restart()
                compare(self.pool, clients)
        self.pool.stop()
        self.pool.check()

    def test_what_is_refused_and_why(self):
        self.start()
        self.assertIn("has native, words, board, kms", self.pool.refused("key", "provider", "use", "other"))
        self.assertIn("already", self.pool.refused("key", "provider", "use", "native"))
        self.assertIn("there is a provider kms",
                      self.pool.refused("key", "provider", "add", "kms", "--type", "native", "--seal", "file"))
        self.assertIn("in force", self.pool.refused("key", "provider", "remove", "native"))
        for words, why in ((["--type", "native", "--seal", "tpm", "--tcti", "swtpm:host=127.0.0.1,port=1"], "TPM"),
                           (["--type", "native", "--seal", "file", "--path", "/no/such/directory/key"], "/no/such/directory"),
                           (["--type", "kmip", "--servers", "127.0.0.1:1", "--ca", self.pool.certificates.path("ca.pem"),
                             "--certificate", self.pool.certificates.path("client.pem"), "--key",
                             self.pool.certificates.path("client.key")], "127.0.0.1:1")):
            self.assertIn(why, self.pool.refused("key", "provider", "add", "more", *words))
        self.assertEqual([row["name"] for row in self.provider("list")["providers"]], ["native", "words", "board", "kms"])
        self.use("native", "words")
        self.assertIn("wrong passphrase", self.pool.refused("key", "provider", "use", "kms", "--no-recovery",
                                                            "--passphrase-file", self.wrong, status=REFUSED))
        self.assertEqual(self.server.ids(), [])
        self.assertEqual(self.in_force(), "words")
        self.assertIn("old keys (1)", self.pool.refused("key", "provider", "remove", "native"))
        self.assertIn("in force", self.pool.refused("key", "retire", "2"))
        self.assertIn("--destroy", self.pool.refused("key", "retire", "native"))
        key, outside = os.path.join(self.pool.directory, "native.key"), os.path.join(self.pool.base, "outside.key")
        os.rename(key, outside)
        os.symlink(outside, key)
        self.assertIn(f"--key-file {key}", self.pool.refused("key", "retire", "--destroy", "native", status=REFUSED))
        self.assertTrue(os.path.exists(outside))
        self.pool.coffer("key", "retire", "--destroy", "native", "--key-file", outside)
        self.assertFalse(os.path.exists(outside))
        self.pool.coffer("key", "provider", "remove", "native")
        self.restart()
        self.assertEqual(self.in_force(), "words")

    def test_what_another_provider_has_is_not_added(self):
        """Whatever lies at its place: the name and the file are looked up in the conf first."""
        key = os.path.join(self.pool.directory, "native.key")
        add = ("key", "provider", "add")
        self.assertIn("there is a provider native already",
                      self.pool.refused(*add, "native", "--type", "native", "--seal", "file"))
        for path in key, os.path.join(self.pool.directory, ".", "native.key"):
            self.assertIn("is the key file of provider native",
                          self.pool.refused(*add, "more", "--type", "native", "--seal", "file", "--path", path))

    def test_a_provider_that_comes_back_has_its_keys(self):
        add = ("key", "provider", "add", "--type", "native", "--seal")
        rows = {row["name"]: row["id"] for row in self.provider("list")["providers"]}
        conf = os.path.join(self.pool.directory, "coffer.conf")
        with open(conf) as file:
            text = file.read()
        begin = text.index("[provider native]")
        end = text.index("[", begin + 1)
        with open(conf, "w") as file:  # what remove refuses
            file.write((text[:begin] + text[end:]).replace("provider = native", "provider = words"))
        self.assertIn("key number 1, which is in force",
                      self.pool.coffer(*add, "file", "native", "--id", rows["native"]))
        self.start()
        self.use("native", "words")
        self.provider("remove", "native", "--keep-keys")
        self.assertIn("old keys (1)", self.pool.coffer(*add, "file", "native", "--id", rows["native"]))
        self.assertIn("keeps no key yet", self.pool.coffer(*add, "file", "more"))

    def test_a_second_way_in_is_demanded_where_the_key_lies_with_others(self):
        self.start()
        use = ("key", "provider", "use")
        for name, words in ("kms", "--no-recovery"), ("board", "--no-copy"):
            said = self.pool.refused(*use, name, status=2)
            self.assertIn("the data would be lost", said)
            self.assertIn(words, said)
        self.assertIn("--seal tpm", self.pool.refused(*use, "kms", "--no-copy", status=2))
        self.assertIn("there is none",
                      self.pool.refused(*use, "kms", "--new-recovery", "print", "--no-recovery", status=2))
        self.assertIn("nothing is overwritten", self.pool.refused(*use, "board", "--copy", self.secret))
        self.assertIn("/nowhere", self.pool.refused(*use, "kms", "--new-recovery", "/nowhere/key"))
        self.assertEqual((self.in_force(), self.server.ids()), ("native", []))
        recovery, copy = (os.path.join(self.pool.base, name) for name in ("recovery", "copy"))
        said = self.pool.coffer(*use, "kms", "--new-recovery", recovery)
        self.assertIn("The recovery key of this pool is in " + recovery, said)
        self.assertNotIn("the recovery key are outdated", said)
        self.server.destroy_all()
        self.pool.stop()
        self.pool.start()
        self.assertTrue(self.pool.status()["locked"])
        self.pool.coffer("unlock", "--recovery", recovery)
        said = self.pool.coffer(*use, "board", "--recovery", recovery, "--copy", copy, "--copy-passphrase-file", self.secret)
        self.assertIn("A copy of the key is in " + copy, said)
        self.assertNotIn("Without a copy", said)
        self.assertEqual(self.in_force(), "board")
        self.pool.coffer("key", "tpm", "reseal", "--copy", copy, "--passphrase-file", self.secret)
        self.restart()

    def test_a_copy_that_cannot_be_made_keeps_no_recovery_key_from_being_made(self):
        if os.geteuid() != 0:
            self.skipTest("only root is let into the directory, and finds that it takes no files")
        self.start()
        recovery = os.path.join(self.pool.base, "recovery")
        ways = ("--copy", "/proc/copy", "--copy-passphrase-file", self.secret, "--new-recovery")
        said = self.pool.refused("key", "provider", "use", "board", *ways, recovery)
        self.assertIn("there is no copy of it", said)
        self.assertEqual(self.in_force(), "board")
        self.pool.coffer("lock")
        self.pool.coffer("unlock", "--recovery", recovery)
        said = self.pool.refused("key", "provider", "use", "native", "--new-recovery", "/proc/recovery")
        self.assertIn("without a recovery key", said)
        said = self.pool.refused("key", "provider", "use", "board", *ways, "/proc/recovery")
        self.assertIn("there is no copy of it", said)
        self.assertIn("without a recovery key", said)

    def times(self):
        return {path: os.path.getmtime(path) for path in self.pool.files() if path.endswith((".key", ".conf"))}

    def test_a_rehearsal_leaves_everything_as_it_was(self):
        self.start()
        before = self.times()
        for name in "words", "board", "kms":
            answer = self.use("native", name, "--dry-run")
            self.assertEqual((answer["provider"], answer["kek_number"]), ("native", 1))
            self.assertEqual(self.server.ids(), [])
        self.assertEqual(before, self.times())
        self.server.stop()
        self.assertIn(self.server.address, self.pool.refused("key", "provider", "use", "kms", "--dry-run"))
        self.assertIn(self.server.address, self.pool.refused("key", "provider", "use", "kms", "--no-recovery"))
        self.assertEqual(self.in_force(), "native")
        self.restart()

    def test_the_passphrase_changes(self):
        self.start()
        self.assertIn("no passphrase", self.pool.refused("key", "provider", "reseal", "--new-passphrase-file", self.secret))
        self.use("native", "words")
        other = os.path.join(self.pool.base, "other")
        with open(other, "w") as file:
            file.write("battery staple\n")
        self.assertIn("wrong passphrase", self.pool.refused("key", "provider", "reseal", "--passphrase-file", self.wrong,
                                                            "--new-passphrase-file", other))
        self.provider("reseal", "--passphrase-file", self.secret, "--new-passphrase-file", other)
        self.pool.stop()
        self.pool.start("--passphrase-file", self.secret)
        self.assertTrue(self.pool.status()["locked"])
        self.pool.coffer("unlock", "--passphrase-file", other)
        self.assertEqual(self.in_force(), "words")
        self.pool.stop()

    def test_a_change_says_that_backups_are_outdated(self):
        """Wherever it is so, and nowhere else."""
        self.start()
        new = ("--new-passphrase-file", self.secret)
        for outdated, words in ((False, ("rekey", "--shallow")), (True, ("rekey", "--shallow", "--new-root")),
                                (True, ("provider", "use", "kms", "--no-recovery")), (True, ("rekey", "--shallow")),
                                (True, ("provider", "use", "words", *new)),
                                (True, ("provider", "reseal", "--passphrase-file", self.secret, *new))):
            file = os.path.join(self.pool.base, "pool.p12")
            phrase = ("--passphrase-file", self.secret) if words[1] == "reseal" else ()
            self.pool.coffer("key", "backup", file, "--password-file", self.secret, *phrase)
            os.remove(file)
            said = self.pool.coffer("key", *words)
            self.assertEqual("Backups and the recovery key are outdated" in said, outdated, words)
            self.assertEqual(self.pool.health()["BACKUP_MISSING"]["severity"], "warning" if outdated else "ok", words)

    def test_what_ends_the_old_key_is_said_as_it_is_to_be_typed(self):
        self.start()
        beside = self.pool.health()["KEY_BESIDE_DATA"]
        self.assertEqual(beside["severity"], "warning")
        self.assertIn("move the file", beside["command"])
        ending = "key retire --destroy native"
        self.assertIn(f"`coffer {ending}`", self.pool.coffer("key", "provider", "use", "words", "--new-passphrase-file",
                                                             self.secret))
        self.assertIn(f"`coffer {ending}`", self.pool.coffer("key", "status"))
        beside = self.pool.health()["KEY_BESIDE_DATA"]
        self.assertEqual(beside["severity"], "warning")
        self.assertIn("the old key", beside["evidence"])
        self.assertTrue(beside["command"].endswith(ending), beside)
        self.pool.coffer(*ending.split())
        self.assertEqual(self.pool.health()["KEY_BESIDE_DATA"]["severity"], "ok")

    def test_old_keys_on_a_server_are_revoked_and_destroyed(self):
        self.start()
        self.use("native", "kms")
        self.pool.coffer("key", "rekey", "--shallow")
        self.pool.coffer("key", "rekey", "--shallow")
        ids = self.server.ids()
        self.assertEqual(len(ids), 3)
        self.assertEqual([one["kek_number"] for one in self.pool.json("key", "status")["retained"]], [1, 2, 3])
        self.assertEqual(self.pool.json("key", "retire", "2")["keys"], 1)
        self.assertEqual(self.pool.json("key", "retire", "--destroy", "kms")["keys"], 2)
        self.assertEqual(len(self.server.ids()), 1)
        self.assertIn("no such old key", self.pool.refused("key", "retire", "kms"))
        self.assertEqual([one["provider"] for one in self.pool.json("key", "status")["retained"]], ["native"])
        self.restart()

    def test_another_key_in_the_place_of_the_one_in_force_is_told(self):
        self.start()
        key = os.path.join(self.pool.directory, "native.key")
        with open(key, "rb") as file:
            old = file.read()
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        with open(key, "rb") as file:
            new = file.read()
        with open(key, "wb") as file:
            file.write(old)
        self.assertIn("another key than the one in force", self.pool.refused("key", "provider", "test"))
        self.restart()
        status = self.pool.status()
        self.assertTrue(status["locked"])
        self.assertIn("another than the one in force", status["why_locked"])
        with open(key, "wb") as file:
            file.write(new)
        self.pool.until(lambda: not self.pool.status()["locked"])
        self.use("native", "kms")
        name, identifier = self.pool.key_name[:-1] + "3", self.server.ids()[0]
        kept = self.server.key(identifier)
        self.assertEqual(self.server.name_of(identifier), name)
        self.server.destroy(identifier)
        self.server.register(name, kept[::-1])
        self.assertIn("another key than the one in force", self.what_is_found())
        self.server.destroy_all()
        self.server.register(name, kept)
        self.restart()

    def what_is_found(self):
        try:
            self.pool.coffer("key", "provider", "test")
        except AssertionError as error:
            return str(error)
        raise AssertionError("the test found nothing")

    def unlock_ready(self, severity):
        self.pool.until(lambda: self.pool.health()["UNLOCK_READY"]["severity"] == severity)
        return self.pool.health()["UNLOCK_READY"]["evidence"]

    def test_health_tells_of_a_key_file_that_is_gone_or_another(self):
        self.start()
        key = os.path.join(self.pool.directory, "native.key")
        self.pool.until(lambda: "holds the key in force" in self.pool.health()["UNLOCK_READY"]["evidence"])
        os.rename(key, key + ".away")
        self.assertIn("there is no " + key, self.unlock_ready("error"))
        os.rename(key + ".away", key)
        self.unlock_ready("ok")
        with open(key, "rb") as file:
            old = file.read()
        self.pool.coffer("key", "rekey", "--shallow", "--new-root")
        with open(key, "wb") as file:
            file.write(old)
        self.assertIn("another key than the one in force", self.unlock_ready("error"))


if __name__ == "__main__":
    unittest.main()
