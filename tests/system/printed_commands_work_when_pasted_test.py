#!/usr/bin/python3
"""Whatever a person is told to type works when it is pasted as it stands: from another directory, with a pool directory
that needs quotes, while another pool runs too, so that a command without its -C would go astray or be refused.
"""
import os
import re
import shutil
import subprocess

from coffer import COFFER, MIB, PATIENCE, Pool
from memory_image import PASSPHRASE

NAME = "it's a pool"


def quoted_pool():
    pool = Pool(create=False)
    pool.directory = os.path.join(pool.base, NAME)
    path = os.path.join(pool.base, "passphrase")
    with open(path, "w") as file:
        file.write(PASSPHRASE)
    os.chmod(path, 0o600)
    pool.run(COFFER, "create", pool.directory, "--size", "512M", "--seal", "passphrase", "--passphrase-file", path)
    return pool, path


def commands_in(text):
    """Between backticks, or after a colon at the end of a line."""
    found = re.findall(r"`(coffer [^`]*)`", text) + re.findall(r": (coffer -C .*)$", text, re.MULTILINE)
    assert found, f"no command in: {text}"
    return found


def paste(pool, command, **options):
    """In a shell, elsewhere, without what else might name the pool."""
    environment = dict(pool.environment, PATH=os.path.dirname(COFFER) + ":" + os.environ["PATH"])
    environment.pop("COFFER_POOL", None)
    result = subprocess.run(["sh", "-c", command], cwd="/", env=environment, capture_output=True, text=True,
                            timeout=PATIENCE, **options)
    assert result.returncode == 0, f"{command}: {result.stderr}"
    return result.stdout


def paste_all(pool, text, **options):
    return [paste(pool, command, **options) for command in commands_in(text)]


def main():
    other = Pool("512M")
    other.start()
    pool, path = quoted_pool()
    pool.environment["COFFER_RUN"] = other.environment["COFFER_RUN"]
    relative = os.path.relpath(pool.directory)
    pool.directory, absolute = relative, pool.directory
    pool.start()  # by a relative name: what the daemon says must be right from everywhere
    pool.directory = absolute
    unlock = pool.refused("object", "list", status=3)
    assert commands_in(unlock) == commands_in(pool.refused("object", "create", "disk", "--size", "1M", status=3))
    assert commands_in(pool.coffer("status")) == commands_in(unlock)
    assert pool.health()["LOCKED"]["command"] == commands_in(unlock)[0]
    assert commands_in(unlock)[0] in pool.last_messages()
    paste(pool, commands_in(unlock)[0] + f" --passphrase-file {path}")
    paste_all(pool, pool.coffer("object", "list"))
    paste_all(pool, pool.coffer("object", "delete", "disk1"))
    hint = pool.coffer("object", "create", "a b", "--size", str(MIB))
    assert paste_all(pool, hint)[0].startswith("nbd+unix:///a%20b?")
    trashed = pool.coffer("object", "delete", "a b")
    paste_all(pool, pool.refused("object", "resize", "a b", "--size", "2M"))
    pool.coffer("object", "delete", "a b")
    paste_all(pool, trashed)
    paste_all(pool, pool.refused("trash", "purge", "a b"))
    locked = pool.coffer("lock")
    paste(pool, commands_in(locked)[0] + f" --passphrase-file {path}")
    pool.stop()
    absent = pool.refused("status")
    assert "`cofferd '" in absent, absent
    other.stop()
    shutil.rmtree(pool.directory)
    paste_all(pool, pool.refused("status"))
    assert os.path.exists(os.path.join(pool.directory, "coffer.conf"))


if __name__ == "__main__":
    main()
