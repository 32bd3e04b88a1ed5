#!/usr/bin/python3
"""The key changes, again and again, while clients write, flush and read: none of them sees an error, and everything is
there after a kill. Without a new root the old key file is still the right one; with one a copy of the old one is not."""
import os
import shutil

from coffer import MIB, Pool
from keys_clients import compare, run_beside

Pool.learns = True

DISK = 64 * MIB
ROUNDS = 4


def change_under_load(pool, *options):
    return run_beside(pool, DISK, [], lambda: [pool.json("key", "rekey", "--shallow", *options)["kek_number"]
                                               for _ in range(ROUNDS)])


def test_of_a_key_in_a_file():
    pool = Pool("1G").start()
    pool.create_object("disk", DISK)
    key = next(path for path in pool.files() if path.endswith(".key"))
    first = os.path.join(pool.base, "first.key")
    shutil.copy(key, first)
    for options in [], ["--new-root"]:
        begin = pool.json("key", "status")["kek_number"]
        numbers, clients = change_under_load(pool, *options)
        assert numbers == list(range(begin + 1, begin + 1 + ROUNDS)), numbers
        pool.kill()
        pool.start()
        assert pool.json("key", "status")["kek_number"] == numbers[-1]
        compare(pool, clients)
        with open(key, "rb") as now, open(first, "rb") as then:
            assert (now.read() == then.read()) == (not options)
    pool.stop()
    pool.check()
    shutil.copy(first, key)
    said = pool.refused("check", pool.directory)
    assert f"key {numbers[-1]} of provider native" in said and "does not fit" in said, said


def test_of_a_passphrase():
    secret = {}
    pool = Pool(create=False)
    for name, text in ("right", "correct horse\n"), ("wrong", "correct house\n"):
        secret[name] = os.path.join(pool.base, name)
        with open(secret[name], "w") as file:
            file.write(text)
    from coffer import COFFER
    pool.run(COFFER, "create", pool.directory, "--size", "1G", "--seal", "passphrase", "--passphrase-file", secret["right"])
    pool.start("--passphrase-file", secret["right"])
    assert "wrong passphrase" in pool.refused("key", "rekey", "--shallow", "--passphrase-file", secret["wrong"], status=3)
    assert pool.json("key", "status")["kek_number"] == 1
    for number, options in (2, []), (3, ["--new-root"]):
        answer = pool.json("key", "rekey", "--shallow", *options, "--passphrase-file", secret["right"])
        assert answer["kek_number"] == number
    pool.stop()
    pool.start("--passphrase-file", secret["right"])
    assert pool.json("key", "status")["kek_number"] == 3
    pool.stop()


test_of_a_key_in_a_file()
test_of_a_passphrase()
