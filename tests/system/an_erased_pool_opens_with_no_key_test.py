#!/usr/bin/python3
"""`coffer erase`: not while the pool is served, not without typing what is lost; then neither a copy of the key file nor the
old witness opens what the devices hold, and the certificate says what was done."""
import json
import os
import shutil
import stat
import subprocess

from coffer import COFFER, MIB, Pool, connect

Pool.learns = True


def main():
    pool = Pool("1G").start()
    pool.create_object("disk", 64 * MIB)
    handle = connect(pool, "disk")
    handle.pwrite(b"secret of the house " * 400, 0)
    handle.flush()
    handle.shutdown()
    certificate = os.path.join(pool.base, "certificate.json")
    words = (pool.directory, "--accept-data-loss", "--certificate", certificate)
    assert "in use" in pool.refused("erase", *words), "while it is served"
    pool.stop()
    assert "--accept-data-loss" in pool.refused("erase", pool.directory, "--certificate", certificate, status=3)
    assert not os.path.exists(certificate)
    key = os.path.join(pool.directory, "native.key")
    keep = os.path.join(pool.base, "kept.key")
    shutil.copy(key, keep)
    outside = os.path.join(pool.base, "stick.key")
    os.rename(key, outside)
    os.symlink(outside, key)
    pool.run(COFFER, "erase", *words)
    told = json.load(open(certificate))
    assert stat.S_IMODE(os.stat(certificate).st_mode) == 0o600
    assert len(told["devices"]) == 1 and told["devices"][0]["discarded"] and told["devices"][0]["read_back"], told
    assert {slot["kind"] for slot in told["devices"][0]["key_slots"]} == {"dek", "log", "pool"}, told
    assert not told["keys"][0]["destroyed"] and "--key-file" in told["keys"][0]["why_not"], told
    assert open(outside).read() == open(keep).read(), "a copy of the pool may need it"
    again = (*words[:-1], certificate + ".2")
    assert "no provider" in pool.refused("erase", *again, "--without-key", "--key-file", keep, status=2)
    pool.run(COFFER, "erase", *again, "--without-key", "--key-file", outside)
    assert json.load(open(again[-1]))["keys"][0]["destroyed"] and not os.path.exists(outside), told
    os.unlink(key)
    assert any("copies of the key file" in line for line in told["could_open_what_is_left"]), told
    audit = open(os.path.join(pool.directory, "audit")).read().splitlines()
    assert len(audit) == told["audit"]["count"] and '"pool.erase"' in audit[-1] and told["audit"]["head"] in audit[-1], audit
    assert os.stat(pool.disk).st_blocks * 512 < MIB, "the space below is given back"
    pool.learn(opens=False)  # the keys of before are nowhere
    shutil.copy(keep, key)
    os.chmod(key, 0o600)
    said = pool.start_refused()
    assert "superblock" in said or "no device of a pool" in said or "not" in said, said
    result = subprocess.run([COFFER, "check", pool.directory], capture_output=True, text=True, timeout=120,
                            env=pool.environment)
    assert result.returncode != 0, result


main()
