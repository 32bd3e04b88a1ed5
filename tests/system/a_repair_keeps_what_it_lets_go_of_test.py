#!/usr/bin/python3
"""A journal that is damaged before what was flushed: `coffer check --repair` says what it gives up and keeps it in a file, from
which dd puts it back onto a copy of the device; where that is not to be had it changes nothing."""
import json
import os
import random
import shutil
import subprocess

from coffer import BLOCK, COFFER, MIB, Pool, connect

BAD = 5


def content(block):
    return random.Random(block).randbytes(BLOCK)


def repair(pool, *options):
    result = subprocess.run([COFFER, "--json", "check", pool.directory, "--repair", *options], capture_output=True, text=True,
                            env=pool.environment)
    return result.returncode, json.loads(result.stdout) if result.stdout else None, result.stderr


pool = Pool("300M", "--no-encryption")
pool.start()
pool.create_object("vm1", 64 * MIB)
handle = connect(pool, "vm1")
for block in range(10):
    handle.pwrite(content(block), block * BLOCK)
    handle.flush()
pool.kill()
with open(pool.disk, "r+b") as disk:
    at = disk.read(64 * MIB).find(content(BAD)[:64])
    assert at > 0
    disk.seek(at // BLOCK * BLOCK + 48)
    byte = disk.read(1)[0]
    disk.seek(-1, os.SEEK_CUR)
    disk.write(bytes([byte ^ 1]))
before = os.path.join(pool.directory, "..", "before")
shutil.copyfile(pool.disk, before)

assert "the journal is damaged" in pool.refused("check", pool.directory, status=1)
pool.refused("check", pool.directory, "--evidence", "/tmp", status=2)
status, told, messages = repair(pool, "--evidence", os.path.join(pool.directory, "nowhere"))
assert status == 1 and "nowhere" in messages, messages
with open(pool.disk, "rb") as now, open(before, "rb") as then:
    assert now.read() == then.read()

status, told, messages = repair(pool)
assert status == 0 and told["errors"] == 0, messages
(kept,) = told["evidence"]
assert kept["bytes"] > 4 * BLOCK and kept["unread"] == 0 and told["evidence_discarded"] == 0, told
assert f"rm {kept['path']}" in messages, messages
assert os.stat(kept["path"]).st_mode & 0o777 == 0o600
with open(kept["path"], "rb") as file:
    head = json.loads(file.readline())
assert head["coffer-evidence"] == 1 and all(piece["path"] == pool.disk for piece in head["pieces"]), head

pool.start()
handle = connect(pool, "vm1")
for block in range(10):
    assert handle.pread(BLOCK, block * BLOCK) == (content(block) if block < BAD else bytes(BLOCK)), block
handle.shutdown()
pool.stop()

# As docs/operating.md has it.
copy = before + ".copy"
shutil.copyfile(pool.disk, copy)
for piece in head["pieces"]:
    subprocess.run(["dd", "status=none", f"if={kept['path']}", f"of={copy}", "iflag=skip_bytes,count_bytes", "oflag=seek_bytes",
                    "conv=notrunc", f"skip={piece['at']}", f"count={piece['length']}", f"seek={piece['offset']}"], check=True)
with open(copy, "rb") as file:
    stored = file.read()
for block in range(BAD, 10):
    assert content(block) in stored, block

os.unlink(kept["path"])
status, told, messages = repair(pool)
assert status == 0 and told["evidence"] == [], told
os.unlink(before)
os.unlink(copy)
