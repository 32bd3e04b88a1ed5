"""Memory images of a daemon, for the tests that look for what must not be there.

The core is taken by gdb as root, which PR_SET_DUMPABLE does not keep out, and which leaves out what MADV_DONTDUMP
marks, as the kernel does, unless it is told otherwise.
"""
import os
import subprocess

from coffer import SANITIZED, Pool, need, skip

PASSPHRASE = "a passphrase that stands nowhere else"
WHOLE = "set dump-excluded-mappings on"  # a command of gdb: the arena too
PAGE = 4096


def need_cores():
    need("gdb")
    if os.geteuid() != 0:
        skip("needs root, to take a core of a process that is not dumpable")
    if SANITIZED:
        skip("with a sanitizer's shadow memory, a core has terabytes")


def sealed_pool():
    """A pool whose key is sealed by PASSPHRASE, and the file that holds it."""
    pool = Pool(create=False)
    path = pool.secret("passphrase", PASSPHRASE)
    pool.coffer("create", pool.directory, "--size", "512M", "--seal", "passphrase", "--passphrase-file", path)
    return pool, path


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
