#!/usr/bin/python3
"""No byte of a key, and no passphrase, in messages, JSON, arguments, environment or a core of the daemon while clients write,
flush and read, and while a deep rekey encrypts anew; the scanner that says so finds a copy that it plants on the daemon's heap.
"""
import os

from coffer import MIB, connect
from key_scan import keys_of, raw_in
from keys_clients import run_beside
from memory_image import PASSPHRASE, core, need_cores, sealed_pool
from seen import parts, spellings

DISK = 64 * MIB


def found_in(data, keys):
    return {name for name, part in parts(keys) for spelling in spellings(part) if spelling in data}


def plant(key):
    """Commands that copy a key to the daemon's heap."""
    values = ", ".join(str(byte) for byte in key)
    return ("set $planted = (unsigned char *)((void *(*)(unsigned long))malloc)(64)",
            f"set {{unsigned char[{len(key)}]}} $planted = {{{values}}}")


def use(pool):
    handle = connect(pool, "disk")
    for number in range(40):
        handle.pwrite(os.urandom(MIB), number * MIB)
    handle.flush()
    for number in range(40):
        handle.pread(MIB, number * MIB)
    handle.shutdown()


def said(pool):
    """Everything that the daemon and the commands tell."""
    words = [("status",), ("health",), ("device", "list"), ("object", "list"), ("object", "show", "disk")]
    texts = [pool.coffer(*command) for command in words] + [pool.coffer("--json", *command) for command in words]
    files = [f"/proc/{pool.daemon.pid}/{name}" for name in ("cmdline", "environ")] + [pool.messages]
    files += [path for path in pool.files() if path.endswith((".conf", "witness"))]
    data = "\n".join(texts).encode()
    for path in files:
        with open(path, "rb") as file:
            data += b"\n" + file.read()
    return data


def core_under_load(pool, name, *commands):
    """Taken while clients wait for answers, with requests under way."""
    return run_beside(pool, DISK, None, lambda: core(pool, name, *commands))[0]


def core_within_a_deep_rekey(pool, path):
    state = lambda: pool.json("key", "status")["deep_rekey"]["state"]
    pool.coffer("key", "rekey", "--deep", "--rate", "1M", "--passphrase-file", path)
    assert state() == "running"
    data = core_under_load(pool, "deep")
    assert state() == "running", "it was over too soon"
    return data


def limits_are_set(pool):
    with open(f"/proc/{pool.daemon.pid}/limits") as file:
        line = next(line for line in file if line.startswith("Max core file size"))
    assert line.split()[4] == "0", line


def main():
    need_cores()
    pool, path = sealed_pool()
    before = keys_of(pool, PASSPHRASE)
    pool.start("--passphrase-file", path)
    pool.create_object("disk", DISK)
    use(pool)
    text = said(pool)
    pool.check_resident()
    clean = core_under_load(pool, "clean")
    deep = core_within_a_deep_rekey(pool, path)
    planted = core_under_load(pool, "planted", *plant(next(iter(before["dek"]))))
    limits_are_set(pool)
    pool.stop(check_resident=False)  # reading a core makes all of the arena and the caches resident
    keys = keys_of(pool, PASSPHRASE)
    assert len(keys["segment-tag"]) > 5, "the daemon made no segments"
    assert before["dek"] < keys["dek"], "the data keys of before and after are not both there"
    assert raw_in(planted, before) == {"dek"}, f"the scanner finds {raw_in(planted, before)} and not what was planted"
    for what, data in (("what was said", text), ("the core", clean), ("the core within a deep rekey", deep)):
        leaked = found_in(data, keys) if data is text else raw_in(data, keys)
        assert not leaked, f"{what} has {sorted(leaked)}"
        assert PASSPHRASE.encode() not in data, f"{what} has the passphrase"
    print(f"none of {sum(len(values) for values in keys.values())} keys in a core of {len(clean) // MIB} MiB")


if __name__ == "__main__":
    main()
