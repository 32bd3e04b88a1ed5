#!/usr/bin/python3
"""A key is exported from one pool directory and imported to another: the same id, the same check value, which both sides print.
A file of another id or key is refused, and so is what the other pool has already, with the name of the provider that has it.
"""
import json
import os
import re
import shutil

from coffer import Pool

ADD = ("key", "provider", "add", "--type", "native", "--seal", "file")
ANOTHER_ID = "55555555-5555-4555-8555-555555555555"


def provider(pool, name):
    rows = pool.json("key", "provider", "list")["providers"]
    return next(row for row in rows if row["name"] == name)


def exported(pool, target):
    """A backup, and the key file that is made of it; all that is said of the key is the same."""
    backup = os.path.join(pool.base, "pool.p12")
    words = pool.secret("words", "correct horse")
    said = pool.coffer("key", "backup", backup, "--password-file", words)
    kcv = re.search("check value ([0-9a-f]{16})", said)[1]
    restored = pool.json("key", "restore", backup, "--password-file", words, "--to", target)
    assert restored["kcv"] == kcv and restored["provider_id"] == provider(pool, "native")["id"], restored
    again = target + ".again"
    told = pool.coffer("key", "restore", backup, "--password-file", words, "--to", again)
    line = f"coffer -C {pool.directory} key provider add native --type native --seal file --path {again} --kcv {kcv}"
    assert line in [one.strip() for one in told.splitlines()], told
    said = " ".join(told.split())
    assert f"id {restored['provider_id']}, check value {kcv}" in said, said
    os.remove(again)
    assert pool.json("key", "provider", "test")["kcv"] == kcv
    return restored["provider_id"], kcv


def changed(path, kcv, other):
    """The file with another check value than its key has."""
    with open(path) as file:
        text = file.read()
    assert kcv in text
    with open(other, "w") as file:
        file.write(text.replace(kcv, "0123456789abcdef"))
    os.chmod(other, 0o600)
    return other


def what_is_refused(pool, file, identity, kcv):
    def refused(*words, name="theirs", path=file):
        return " ".join(pool.refused(*ADD, name, "--path", path, *words).split())
    said = refused("--kcv", "0123456789abcdef")
    assert "holds another key" in said and kcv in said, said
    assert "16 hexadecimal digits" in refused("--kcv", "01")
    said = refused("--id", ANOTHER_ID)
    assert identity in said and kcv in said, said
    assert "no key file" in refused("--kcv", kcv, path=file + ".none")
    assert refused(path=changed(file, kcv, file + ".changed"))
    assert "is sealed by file" in " ".join(pool.refused("key", "provider", "add", "theirs", "--type", "native", "--seal",
                                                        "passphrase", "--path", file).split())
    assert [row["name"] for row in pool.json("key", "provider", "list")["providers"]] == ["native"]


def main():
    here, there = Pool("512M"), Pool("512M")
    file = os.path.join(there.directory, "theirs.key")
    identity, kcv = exported(here, file)
    what_is_refused(there, file, identity, kcv)

    said = " ".join(there.coffer(*ADD, "theirs", "--path", file, "--id", identity, "--kcv", kcv).split())
    assert f"id {identity}, check value {kcv}" in said, said
    assert provider(there, "theirs")["id"] == identity
    copy = shutil.copy(file, file + ".copy")
    os.chmod(copy, 0o600)
    for pool, name in (there, "theirs"), (here, "native"):
        said = " ".join(pool.refused(*ADD, "twice", "--path", copy).split())
        assert f"of provider {name}" in said and kcv in said, said

    # Where the key file of that id is gone, nothing is said of what it holds, but what to set.
    os.rename(file, file + ".away")
    said = " ".join(there.refused(*ADD, "twice", "--path", copy).split())
    assert "cannot be read" in said and "holds another key" not in said and f"`path = {copy}`" in said, said
    os.rename(file + ".away", file)

    # It comes back with the id that its file has, without one being typed, and a swap to it works.
    there.coffer("key", "provider", "remove", "theirs")
    added = json.loads(there.coffer("--json", *ADD, "theirs", "--path", file))
    assert (added["id"], added["kcv"]) == (identity, kcv), added
    there.start()
    there.coffer("key", "provider", "use", "theirs")
    assert there.json("key", "provider", "test")["kcv"] != kcv
    there.stop()


if __name__ == "__main__":
    main()
