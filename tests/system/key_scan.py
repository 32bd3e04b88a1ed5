"""The keys of a pool, and where they are found: in memory images, on disks and in files, by key_find."""
import fnmatch
import os
import subprocess

import seen
from coffer import MIB, PATIENCE, run
from seen import PART, parts, spellings

KEY_DUMP, KEY_FIND = os.environ["KEY_DUMP"], os.environ["KEY_FIND"]
DISK_MIN = 64 * MIB  # of a file beside the pool directory
IN_THE_CLEAR = "*.key*"  # files that hold a key as it is, where that is how it is sealed


def keys_of(pool, passphrase=None, opens=True):
    """Every key by name, those of all segments included; the pool must not be served."""
    keys = {}
    words = [] if passphrase is None else ["-"]
    said = subprocess.run([KEY_DUMP, pool.directory, *words], capture_output=True, text=True, timeout=PATIENCE,
                          env=pool.environment, input=passphrase or "")
    assert said.returncode == 0 or not opens, said.stderr
    for line in said.stdout.splitlines() if said.returncode == 0 else []:
        name, digits = line.split()
        keys.setdefault(name, set()).add(bytes.fromhex(digits))
    return keys


def find(needles, paths, **options):
    """(name, path, offset) of each (name, bytes) in each file."""
    text = "".join(f"{name.replace(' ', '-')} {needle.hex()}\n" for name, needle in needles)
    said = run(KEY_FIND, *paths, input=text, **options)
    return [(name, path, int(offset)) for name, path, offset in (line.split() for line in said.splitlines())]


def spelled(keys):
    return [(name, spelling) for name, part in parts(keys) for spelling in spellings(part)]


def raw_in(data, keys):
    """The names of what is in a memory image."""
    image = os.memfd_create("image")
    try:
        with open(image, "wb", closefd=False) as file:
            file.write(data)
        return {name for name, _, _ in find(parts(keys), [f"/proc/self/fd/{image}"], pass_fds=[image])}
    finally:
        os.close(image)


def found_in_files(pool, *more):
    """What was learned, as it is or as text, in the pool directory with its disks, in the messages, and in more files."""
    outside = [os.path.join(pool.base, name) for name in os.listdir(pool.base)]
    paths = [path for path in outside if os.path.isfile(path) and os.path.getsize(path) >= DISK_MIN]
    paths += [path for path in pool.files() if not fnmatch.fnmatch(os.path.basename(path), IN_THE_CLEAR)]
    paths += [path for path in (pool.messages, *more) if os.path.exists(path)]
    secrets = [(name, text.encode()) for text, name in seen.secrets.items()]
    return find(spelled(seen.keys) + secrets, paths) if seen.keys or secrets else []
