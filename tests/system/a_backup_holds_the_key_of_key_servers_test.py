#!/usr/bin/python3
"""Where key servers keep the key, a backup holds the key in force: it opens the pool while they are away, until the next change
of keys outdates it; so does a recovery key. A pool is made without one only where that is said."""
import os
import unittest

from kmip_servers import KmipPool, options

KmipPool.learns = True

REFUSED, USAGE = 3, 2


class BackupHoldsTheKeyOfServers(unittest.TestCase):
    def test_it_opens_while_the_servers_are_away(self):
        pool = KmipPool()
        server = pool.server().start()
        words = [word for word in options(pool.certificates, server) if word != "--no-recovery"]
        self.assertIn("--no-recovery", pool.create_refused(*words, status=USAGE))
        recovery, password, file = (os.path.join(pool.base, name) for name in ("recovery.txt", "password", "pool.p12"))
        with open(password, "w") as out:
            out.write("correct horse\n")
        os.chmod(password, 0o600)
        pool.coffer("create", pool.directory, "--size", "512M", *words, "--recovery", recovery)
        pool.start()
        pool.fill()
        told = pool.json("key", "backup", file, "--password-file", password)
        self.assertEqual((told["key"], told["kek_number"]), ("kek", 1))
        self.assertEqual(pool.health()["BACKUP_MISSING"]["severity"], "ok")
        server.stop()
        pool.coffer("lock")
        self.assertIn(server.address, pool.refused("unlock"))
        pool.coffer("unlock", "--key", file, "--password-file", password)
        pool.serves()
        state = pool.health()["KEY_STATE"]
        self.assertEqual(state["severity"], "warning")
        self.assertIn("no key server was asked", state["evidence"])
        pool.coffer("key", "drill", file, "--password-file", password)
        pool.coffer("lock")
        pool.coffer("unlock", "--recovery", recovery)
        pool.serves()
        said = pool.refused("key", "restore", file, "--to", os.path.join(pool.base, "key"), "--password-file", password)
        self.assertIn("unlock --key", said)
        server.start()
        pool.coffer("key", "rekey", "--shallow")
        health = pool.health()
        self.assertEqual(health["KEY_STATE"]["severity"], "ok")
        self.assertEqual(health["BACKUP_MISSING"]["severity"], "warning")
        self.assertEqual(health["RECOVERY_OUTDATED"]["severity"], "warning")
        self.assertIn("newer key", pool.refused("key", "drill", file, "--password-file", password, status=REFUSED))
        pool.coffer("lock")
        pool.refused("unlock", "--key", file, "--password-file", password, status=REFUSED)
        pool.refused("unlock", "--recovery", recovery, status=REFUSED)
        pool.coffer("unlock")
        pool.serves()
        pool.stop()

    def test_a_key_that_is_gone_from_the_servers_is_replaced(self):
        pool = KmipPool()
        server = pool.server().start()
        words = [word for word in options(pool.certificates, server) if word != "--no-recovery"]
        recovery, password, file = (os.path.join(pool.base, name) for name in ("recovery.txt", "password", "pool.p12"))
        with open(password, "w") as out:
            out.write("correct horse\n")
        os.chmod(password, 0o600)
        pool.coffer("create", pool.directory, "--size", "512M", *words, "--recovery", recovery)
        pool.start()
        pool.fill()
        by_key = ("--key", file, "--password-file", password)
        pool.coffer("key", "backup", file, "--password-file", password)
        server.revoke(server.ids()[0])
        pool.coffer("lock")
        pool.coffer("unlock", "--recovery", recovery)
        self.assertIn("no key server was asked", pool.health()["KEY_STATE"]["evidence"])
        server.destroy_all()
        pool.coffer("lock")
        pool.refused("unlock")
        pool.coffer("unlock", *by_key)
        pool.refused("key", "rekey", "--shallow")
        pool.coffer("key", "rekey", "--shallow", *by_key)
        self.assertEqual(pool.json("key", "status")["kek_number"], 2)
        pool.coffer("lock")
        said = pool.refused("unlock", *by_key, status=REFUSED)
        self.assertIn("in force no more", said)
        pool.coffer("unlock")
        pool.serves()
        pool.coffer("key", "recovery", "--to", recovery + ".2")
        server.destroy_all()
        self.assertIn("in force no more", pool.refused("key", "rekey", "--shallow", *by_key, status=REFUSED))
        pool.coffer("key", "provider", "add", "here", "--type", "native", "--seal", "file")
        pool.refused("key", "provider", "use", "here")
        pool.coffer("key", "provider", "use", "here", "--recovery", recovery + ".2")
        server.stop()
        pool.coffer("lock")
        pool.coffer("unlock")
        pool.serves()
        pool.stop()
        pool.check()


if __name__ == "__main__":
    unittest.main()
