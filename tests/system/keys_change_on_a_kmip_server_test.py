#!/usr/bin/python3
"""A shallow rekey under a KMIP server makes the next key there, and the pool needs the old one no more; where the server is
away nothing changes."""
import os
import unittest

from coffer import KIB
from kmip_servers import KmipPool

KmipPool.learns = True
SUPERBLOCKS = 256 * KIB  # both copies of a disk's head


class KeysChange(unittest.TestCase):
    def tell(self, pool, name, text):
        """The server, how to be a bad one."""
        with open(pool.certificates.path(name), "w") as file:
            file.write(text)

    def superblocks(self, pool):
        with open(pool.disk, "rb") as disk:
            return disk.read(SUPERBLOCKS)

    def what_the_server_gives_otherwise_is_not_used(self, pool, server):
        """The new key, over the second connection."""
        honest, ids, before = pool.certificates.path("honest"), server.ids(), self.superblocks(pool)
        self.tell(pool, "honest", " ".join(ids))
        said = pool.refused("key", "rekey", "--shallow")
        self.assertIn("gives another key than was made", said)
        self.assertIn(server.address, said)
        self.assertEqual(self.superblocks(pool), before)
        self.assertEqual(server.ids(), ids)  # it was taken back
        self.assertEqual(pool.json("key", "status")["kek_number"], 2)
        os.remove(honest)
        pool.serves()

    def a_number_that_is_taken_is_left_alone(self, pool, server):
        """By a copy of this pool, or a change that was cut short."""
        name, key = pool.key_name[:-1] + "3", os.urandom(32)
        taken = server.register(name, key)
        self.assertEqual(pool.json("key", "rekey", "--shallow")["kek_number"], 4)
        self.assertIn("it is left alone, and the next number taken", pool.last_messages())
        self.assertEqual(server.key(taken), key)
        self.assertEqual(server.name_of(taken), name)
        server.destroy(taken)
        pool.serves()

    def test_a_key_that_another_makes_meanwhile_is_left_alone(self):
        """By a copy of this pool, in between the look that there is none and the making. What this one made is taken back."""
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server).start()
        for how in ("once", "twice"):
            before = server.ids()
            self.tell(pool, "rival", how)
            pool.refused("key", "rekey", "--shallow")
            with open(pool.certificates.path("rival")) as file:
                rival = file.read().split()[1]
            os.remove(pool.certificates.path("rival"))
            self.assertEqual(sorted(server.ids()), sorted(before + [rival]))
            server.destroy(rival)
        self.tell(pool, "cut", "CREATE")
        before = server.ids()
        said = pool.refused("key", "rekey", "--shallow")
        os.remove(pool.certificates.path("cut"))
        self.assertIn("may have made key " + pool.key_name[:-1] + "2", " ".join(said.split()))
        self.assertEqual(len(server.ids()), len(before) + 1)  # whose it is, nobody knows
        self.assertEqual(pool.json("key", "rekey", "--shallow")["kek_number"], 3)
        pool.stop()

    def test_a_server_that_does_not_answer_may_be_of_the_cluster(self):
        pool = KmipPool()
        servers = pool.server().start(), pool.server().start()
        pool.create(*servers).start()
        before = servers[0].ids()
        self.tell(pool, "cut", f"LOCATE:{servers[1].port}")
        self.assertNotIn("cluster", pool.refused("key", "rekey", "--shallow"))
        self.tell(pool, "cut", f"GET:{servers[1].port}")
        said = pool.refused("key", "rekey", "--shallow")
        self.assertIn(servers[1].address, said)
        self.assertNotIn("cluster", said)
        self.assertEqual(servers[0].ids(), before)  # what was made is taken back
        pool.stop()

    def test_a_key_is_destroyed_when_its_server_says_so(self):
        """No answer is not the answer that there is none."""
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server).start()
        old = server.ids()
        pool.coffer("key", "rekey", "--shallow")
        new = [one for one in server.ids() if one not in old]
        self.tell(pool, "cut", "LOCATE")
        for words in ((), ("--destroy",), ("--destroy", "1")):
            self.assertIn(server.address, pool.refused("key", "retire", *words))
        self.assertIn(1, [key["kek_number"] for key in pool.json("key", "status")["retained"]])
        os.remove(pool.certificates.path("cut"))
        self.assertEqual(sorted(server.ids()), sorted(old + new))
        self.assertEqual(pool.json("key", "retire", "--destroy")["keys"], 1)
        self.assertEqual(server.ids(), new)
        pool.stop()

    def test_a_deactivated_key_is_left_for_a_new_one(self):
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server).start()
        pool.fill()
        old = server.ids()[0]
        pool.stop()
        server.revoke(old)
        pool.start()
        health = pool.health()["KEY_STATE"]
        self.assertEqual(health["severity"], "warning")
        self.assertTrue(health["command"].endswith("key rekey --shallow"))
        server.stop()
        self.assertIn(server.address, pool.refused("key", "rekey", "--shallow"))
        pool.serves()
        server.start()
        self.assertEqual(server.ids(), [old])
        pool.coffer("key", "rekey", "--shallow")
        self.assertEqual(pool.health()["KEY_STATE"]["severity"], "ok")
        new = [one for one in server.ids() if one != old]
        self.assertEqual(len(new), 1)
        self.assertEqual(server.name_of(new[0]), pool.key_name[:-1] + "2")
        self.assertNotEqual(server.key(new[0]), server.key(old))
        self.what_the_server_gives_otherwise_is_not_used(pool, server)
        self.a_number_that_is_taken_is_left_alone(pool, server)
        server.destroy(old)
        self.assertIn(pool.key_name[:-1] + "4", pool.coffer("key", "provider", "test"))
        pool.coffer("lock")
        pool.coffer("unlock")
        pool.serves()
        pool.stop()
        pool.start()
        pool.serves()
        pool.stop()
        pool.check()


if __name__ == "__main__":
    unittest.main()
