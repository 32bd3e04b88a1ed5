#!/usr/bin/python3
"""A pool whose key is on a KMIP server: made, stopped, opened again, the same data; with each version of the protocol."""
import os
import unittest

from coffer import MIB, Pool, connect
from kmip_servers import VERSIONS, Certificates, Server, options


class KeyOnAKmipServer(unittest.TestCase):
    def pool(self):
        pool = Pool(create=False)
        self.certificates = Certificates(os.path.join(pool.base, "certificates"))
        self.database = os.path.join(pool.base, "keys")
        return pool

    def create(self, pool, *servers):
        pool.coffer("create", pool.directory, "--size", "512M", *options(self.certificates, *servers))

    def fill(self, pool):
        pool.create_object("disk", MIB)
        handle = connect(pool, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()

    def serves(self, pool):
        handle = connect(pool, "disk")
        self.assertEqual(bytes(handle.pread(4, 0)), b"here")
        handle.shutdown()

    def test_created_and_opened_again_with_each_version(self):
        for version in VERSIONS:
            with self.subTest(version=version):
                pool = self.pool()
                server = Server(self.certificates, self.database, versions=(version,)).start()
                self.create(pool, server)
                uuid = next(line.split()[2] for line in open(os.path.join(pool.directory, "coffer.conf"))
                            if line.startswith("uuid"))
                self.assertEqual([server.name_of(one) for one in server.ids()] if version != "2.0" else
                                 [f"coffer/{uuid}/kek/1"], [f"coffer/{uuid}/kek/1"])
                pool.start()
                self.fill(pool)
                pool.stop()
                pool.start()
                self.serves(pool)
                pool.stop()
                pool.check()
                server.stop()


if __name__ == "__main__":
    unittest.main()
