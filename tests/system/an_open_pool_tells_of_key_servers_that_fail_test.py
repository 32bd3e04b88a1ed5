#!/usr/bin/python3
"""An open pool needs no key server, and `health` tells while it is open that the key could not be had again."""
import os
import socket
import subprocess
import time
import unittest

from coffer import COFFER
from kmip_servers import KmipPool, Server, options


class OpenPoolTells(unittest.TestCase):
    def ready(self, pool):
        return pool.health()["UNLOCK_READY"]

    def becomes(self, pool, severity, *words):
        """Within a minute, which is promised: time limits of servers that say nothing included."""
        begin = time.monotonic()
        pool.until(lambda: self.ready(pool)["severity"] == severity and
                   all(word in self.ready(pool)["evidence"] for word in words))
        self.assertLess(time.monotonic() - begin, 60)

    def test_servers_that_go_and_come_while_the_pool_is_open(self):
        pool = KmipPool()
        first = pool.server().start()
        second = Server(pool.certificates, os.path.join(pool.base, "other keys")).start()
        pool.coffer("create", pool.directory, "--size", "512M", "--kmip-separate",
                    *options(pool.certificates, first, second))
        pool.start()
        pool.fill()
        self.becomes(pool, "ok", "each of 2 key servers")
        first.stop()
        self.becomes(pool, "warning", first.address, "cannot connect")
        self.assertNotIn(second.address, self.ready(pool)["evidence"])
        self.assertIn("key provider test", self.ready(pool)["command"])
        second.stop()
        self.becomes(pool, "error", first.address, second.address)
        pool.serves()
        self.assertIn("0 of 2 key servers would give the key now", pool.last_messages())
        first.start()
        second.start()
        self.becomes(pool, "ok")
        self.assertIn("all key servers would give the key again", pool.last_messages())
        second.revoke(second.ids()[0])
        self.becomes(pool, "warning", second.address, "Deactivated")
        first.destroy_all()
        second.destroy_all()
        self.becomes(pool, "error", "no key " + pool.key_name)
        pool.serves()
        pool.stop()

    def test_all_servers_are_asked_side_by_side(self):
        """None is answered before all four were reached: one after the other would take their time limits first."""
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server)
        server.stop()
        silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        pool.conf_change("servers", ", ".join(f"127.0.0.1:{one.getsockname()[1]}" for one in silent))
        with open(pool.conf) as file:
            text = file.read()
        with open(pool.conf, "w") as file:
            file.write(text.replace("#timeout = 5s", "timeout = 60s"))
        asking = subprocess.Popen([COFFER, "-C", pool.directory, "key", "provider", "test"], stdout=subprocess.PIPE, text=True,
                                  env=pool.environment)
        reached = []
        for one in silent:
            one.settimeout(50)
            reached.append(one.accept()[0])
        for one in reached:
            one.close()
        said, _ = asking.communicate(timeout=50)
        self.assertEqual(said.count("TLS: "), 4, said)

    def test_a_stop_waits_for_no_server(self):
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            pool.conf_change("servers", ", ".join([f"127.0.0.1:{silent.getsockname()[1]}"] * 16))
            pool.conf_change("#timeout", "60s")
            with open(pool.conf) as file:
                text = file.read()
            with open(pool.conf, "w") as file:
                file.write(text.replace("#timeout", "timeout"))
            pool.launch()  # it would wait for a quarter of an hour
            asked, _ = silent.accept()
            pool.daemon.terminate()
            pool.daemon.wait(60)
            asked.close()
        self.assertEqual(pool.daemon.returncode, 0)


if __name__ == "__main__":
    unittest.main()
