#!/usr/bin/python3
"""A KMIP server that is away leaves the pool locked until it returns; an open pool needs none; another server stands in."""
import os
import socket
import unittest

from kmip_servers import KmipPool, Server, options

KmipPool.learns = True


class AwayIsWaitedFor(unittest.TestCase):
    def test_down_at_the_start_and_back_later(self):
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server).start()
        pool.fill()
        server.stop()  # while the pool is open nobody asks it
        pool.serves()
        pool.stop()
        pool.start_locked(server.address, "cannot connect")
        self.assertIn("cannot connect", pool.refused("unlock"))
        server.start()
        pool.until(lambda: not pool.status()["locked"])
        pool.serves()
        server.stop()
        pool.serves()
        pool.coffer("lock")
        self.assertIn(server.address, pool.refused("unlock"))
        server.start()
        pool.coffer("unlock")
        pool.serves()
        pool.stop()
        pool.check()

    def test_two_servers_with_the_first_dead(self):
        pool = KmipPool()
        first, second = pool.server(), pool.server()  # one database: a cluster
        first.start()
        self.assertIn(second.address, pool.create_refused(*options(pool.certificates, first, second)))
        self.assertEqual(first.ids(), [])  # nothing was made: each must answer before
        second.start()
        pool.create(first, second).start()
        self.assertEqual(len(first.ids()), 1)
        pool.fill()
        pool.stop()
        first.stop()
        pool.start()
        pool.serves()
        self.assertIn(f"the key came from {second.address}", pool.last_messages())
        pool.stop()
        second.stop()
        pool.start_locked(first.address, second.address)
        first.start()
        pool.until(lambda: not pool.status()["locked"])
        pool.serves()
        pool.stop()

    def test_servers_that_share_nothing_are_each_given_the_key(self):
        pool = KmipPool()
        first = pool.server().start()
        second = Server(pool.certificates, os.path.join(pool.base, "other keys")).start()
        said = pool.create_refused(*options(pool.certificates, first, second))
        self.assertIn("--kmip-separate", said)
        self.assertEqual(first.ids() + second.ids(), [])  # what was made was taken back
        pool.coffer("create", pool.directory, "--size", "512M", "--kmip-separate",
                    *options(pool.certificates, first, second))
        self.assertEqual(len(first.ids()), 1)
        self.assertEqual(len(second.ids()), 1)
        self.assertEqual(first.key(first.ids()[0]), second.key(second.ids()[0]))
        first.stop()
        pool.start()
        pool.fill()
        pool.serves()
        pool.stop()

    def test_a_slow_server(self):
        pool = KmipPool()
        server = pool.server(delay=2).start()
        pool.create(server).start()
        pool.fill()
        pool.stop()
        pool.start()
        pool.serves()
        pool.stop()

    def test_a_server_that_never_answers_is_passed_over(self):

        pool = KmipPool()
        server = pool.server().start()
        pool.create(server)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            pool.conf_change("servers", f"127.0.0.1:{silent.getsockname()[1]}, {server.address}")
            pool.conf_change("#timeout", "1s")
            pool.start()
            self.assertFalse(pool.status()["locked"])
            self.assertIn("no answer in time", pool.last_messages())
            pool.stop()

    def test_a_name_that_nobody_knows(self):
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server)
        pool.conf_change("servers", "no-such-host.invalid")
        pool.start_locked("no-such-host.invalid", "name is not known")
        pool.stop()


if __name__ == "__main__":
    unittest.main()
