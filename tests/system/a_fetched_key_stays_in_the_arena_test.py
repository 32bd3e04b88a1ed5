#!/usr/bin/python3
"""The key that KMIP servers give is in the daemon's arena only, while the pool is open and the servers are asked again, and
nowhere after `coffer lock`; neither is what the servers sent."""
import os

from coffer import MIB, connect
from kmip_servers import KmipPool
from key_scan import keys_of, raw_in
from memory_image import WHOLE, core, need_cores


def use(pool):
    handle = connect(pool, "disk")
    for number in range(8):
        handle.pwrite(os.urandom(MIB), number * MIB)
    handle.flush()
    handle.shutdown()


def main():
    need_cores()
    pool = KmipPool()
    server, second = pool.server().start(), pool.server().start()  # all but the last are asked by threads of their own
    pool.create(server, second).start()
    pool.create_object("disk", 16 * MIB)
    use(pool)
    pool.stop()
    keys = keys_of(pool)
    assert keys["kek"] == {server.key(server.ids()[0])}, "the key is not the server's"
    pool.start()
    use(pool)
    pool.until(lambda: "each of 2 key servers" in pool.health()["UNLOCK_READY"]["evidence"])  # it was fetched again
    open_one = core(pool, "open")
    whole = core(pool, "whole", WHOLE)
    pool.coffer("lock")
    locked = core(pool, "locked", WHOLE)
    pool.stop(check_resident=False)
    assert not raw_in(open_one, keys), f"outside of the arena: {sorted(raw_in(open_one, keys))}"
    assert "dek" in raw_in(whole, keys), "the scanner does not find what an open pool must have"
    assert not raw_in(locked, keys), f"after the lock: {sorted(raw_in(locked, keys))}"


if __name__ == "__main__":
    main()
