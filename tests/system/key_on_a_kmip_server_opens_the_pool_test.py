#!/usr/bin/python3
"""A pool whose key is on a KMIP server: made, stopped, opened again, the same data; with each version of the protocol."""
import unittest

from kmip_servers import VERSIONS, KmipPool

KmipPool.learns = True


class KeyOnAKmipServer(unittest.TestCase):
    def test_created_and_opened_again_with_each_version(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                pool = KmipPool()
                server = pool.server(versions=(version,)).start()
                pool.create(server).start()
                pool.fill()
                pool.stop()
                self.assertEqual(len(server.ids()), 1)
                if version != "2.0":  # PyKMIP's own client cannot read a name there
                    self.assertEqual(server.name_of(server.ids()[0]), pool.key_name)
                pool.start()
                pool.serves()
                self.assertEqual(pool.health()["KEY_STATE"]["severity"], "ok")
                pool.stop()
                pool.check()
                server.stop()


if __name__ == "__main__":
    unittest.main()
