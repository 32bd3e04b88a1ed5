#!/usr/bin/python3
"""A shallow rekey under a KMIP server makes the next key there, and the pool needs the old one no more; where the server is
away nothing changes."""
import unittest

from kmip_servers import KmipPool


class KeysChange(unittest.TestCase):
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
        server.destroy(old)
        self.assertIn(pool.key_name[:-1] + "2", pool.coffer("key", "provider", "test"))
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
