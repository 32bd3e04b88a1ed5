#!/usr/bin/python3
"""No byte of a key, and no passphrase, in messages, JSON, arguments, environment or a core of the running daemon; the
scanner that says so finds a copy that is planted on the daemon's heap.

The core is taken by gdb as root, which PR_SET_DUMPABLE does not keep out, and which leaves out what MADV_DONTDUMP
marks, as the kernel does.
"""
import base64
import os
import subprocess

from coffer import MIB, SANITIZED, Pool, connect, need, run, skip

KEY_DUMP = os.environ["KEY_DUMP"]
PASSPHRASE = "a passphrase that stands nowhere else"
PAGE = 4096
PART = 16  # bytes of a key that tell it


def keys_of(pool):
    """Every key by name, those of all segments included; the pool must not be served."""
    keys = {}
    for line in run(KEY_DUMP, pool.directory, PASSPHRASE).splitlines():
        name, digits = line.split()
        keys.setdefault(name, set()).add(bytes.fromhex(digits))
    return keys


def parts(keys):
    return {(name, key[at:at + PART]) for name, values in keys.items() for key in values
            for at in range(0, len(key), PART)}


def spellings(needle):
    """As it is, and as text might have it; base64 has three phases."""
    yield needle
    yield needle.hex().encode()
    yield needle.hex().upper().encode()
    for phase in range(3):
        whole = needle[phase:phase + (len(needle) - phase) // 3 * 3]
        yield base64.b64encode(whole)


def found_in(data, keys):
    return {name for name, part in parts(keys) for spelling in spellings(part) if spelling in data}


def raw_in(data, keys):
    return {name for name, part in parts(keys) if part in data}


def core(pool, name, *commands):
    """A core of the daemon, without its empty pages, after some commands of gdb."""
    path = os.path.join(pool.base, name)
    words = [word for command in (*commands, f"generate-core-file {path}") for word in ("-ex", command)]
    result = subprocess.run(["gdb", "--batch", "-nx", "-p", str(pool.daemon.pid), *words], capture_output=True,
                            text=True, timeout=120)
    if not os.path.exists(path):
        skip("gdb cannot take a core here: " + result.stderr.strip()[-200:])
    with open(path, "rb") as file:
        pages = iter(lambda: file.read(PAGE), b"")
        data = b"".join(page for page in pages if page != bytes(PAGE))
    os.unlink(path)
    return data


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


def limits_are_set(pool):
    with open(f"/proc/{pool.daemon.pid}/limits") as file:
        line = next(line for line in file if line.startswith("Max core file size"))
    assert line.split()[4] == "0", line


def sealed_pool():
    pool = Pool(create=False)
    path = os.path.join(pool.base, "passphrase")
    with open(path, "w") as file:
        file.write(PASSPHRASE + "\n")
    os.chmod(path, 0o600)
    pool.coffer("create", pool.directory, "--size", "512M", "--seal", "passphrase", "--passphrase-file", path)
    return pool, path


def main():
    need("gdb")
    if os.geteuid() != 0:
        skip("needs root, to take a core of a process that is not dumpable")
    if SANITIZED:
        skip("with a sanitizer's shadow memory, a core has terabytes")
    pool, path = sealed_pool()
    before = keys_of(pool)
    pool.start("--passphrase-file", path)
    pool.create_object("disk", 64 * MIB)
    use(pool)
    text = said(pool)
    pool.check_resident()
    clean = core(pool, "clean")
    planted = core(pool, "planted", *plant(next(iter(before["dek"]))))
    limits_are_set(pool)
    pool.stop(check_resident=False)  # reading a core makes all of the arena and the caches resident
    keys = keys_of(pool)
    assert len(keys["segment-tag"]) > 5, "the daemon made no segments"
    assert raw_in(planted, before) == {"dek"}, f"the scanner finds {raw_in(planted, before)} and not what was planted"
    for what, data in (("what was said", text), ("the core", clean)):
        leaked = raw_in(data, keys) if data is clean else found_in(data, keys)
        assert not leaked, f"{what} has {sorted(leaked)}"
        assert PASSPHRASE.encode() not in data, f"{what} has the passphrase"
    print(f"none of {sum(len(values) for values in keys.values())} keys in a core of {len(clean) // MIB} MiB")


if __name__ == "__main__":
    main()
