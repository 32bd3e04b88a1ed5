#!/usr/bin/python3
"""Snapshots are exported whole and as differences, verified without a pool, and imported into another pool with their names,
times and contents. What is wrong with a stream, its secret or its target is refused in one sentence and leaves the target as it
was: a wrong secret, bits that flipped in each part, a cut, chunks in another order, another base, a target that is there or was
written, no space. An export and an import that were killed go on where they were."""
import json
import os
import random
import resource
import subprocess
import time

import nbd

from coffer import BLOCK, COFFER, MIB, PATIENCE, Pool, connect, run

SIZE = 48 * MIB
HEADER, HEAD = 512, 32
rng = random.Random(7)


def write(pool, name, changes):
    handle = connect(pool, name)
    for offset, data in changes:
        handle.pwrite(data, offset)
    handle.flush()
    handle.shutdown()


def read(pool, name):
    handle = connect(pool, name)
    size = handle.get_size()
    data = b"".join(bytes(handle.pread(MIB, offset)) for offset in range(0, size, MIB))
    handle.shutdown()
    return data


def path(name):
    return os.path.join(source.base, name)


def chunks(stream):
    """Begin and end of each."""
    at, found = HEADER, []
    while at < len(stream):
        end = at + HEAD + int.from_bytes(stream[at + 4:at + 8], "little")
        found.append((at, end))
        at = end
    return found


def put(name, data):
    with open(path(name), "wb") as file:
        file.write(data)
    return path(name)


def get(name):
    with open(path(name), "rb") as file:
        return file.read()


def limited(pool, limit, *words):
    """A command that is killed where it would write a file beyond so many bytes."""
    return subprocess.run([COFFER, "-C", pool.directory, *words], capture_output=True, text=True, timeout=PATIENCE,
                          env=pool.environment,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))


def piped(pool, data, *words, kill=False):
    """An import from a pipe that gives so much; with `kill` the pipe stays open and the command is killed."""
    process = subprocess.Popen([COFFER, "-C", pool.directory, "object", "import", "-", *words], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=pool.environment)
    try:
        process.stdin.write(data)
        process.stdin.flush()
        if kill:
            time.sleep(0.5)
            process.kill()
        process.stdin.close()
    except BrokenPipeError:
        pass
    error = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    return process.wait(PATIENCE), error


def snapshots(pool, name):
    return {row["snapshot"]: row for row in pool.json("object", "list", "--snapshots", name)}


def imports(pool):
    return [row["name"] for row in pool.json("object", "list") if row["importing"]]


source, target = Pool("1G"), Pool("512M")
source.start()
target.start()
for name, text in (("secret", "correct horse battery\n"), ("wrong", "staple\n")):
    put(name, text.encode())
    os.chmod(path(name), 0o600)
put("key", os.urandom(32))
put("key.hex", os.urandom(32).hex().encode() + b"\n")
for name in ("key", "key.hex"):
    os.chmod(path(name), 0o600)

source.create_object("disk", SIZE)
write(source, "disk", [(0, rng.randbytes(20 * MIB)), (30 * MIB, b"text" * MIB)])
source.coffer("object", "snapshot", "disk", "--name", "s1")
write(source, "disk", [(5 * MIB, rng.randbytes(3 * MIB)), (40 * MIB, b"new" * BLOCK)])
handle = connect(source, "disk")
handle.trim(MIB, 31 * MIB)
handle.shutdown()
source.coffer("object", "resize", "disk", "--size", str(SIZE + 16 * MIB))
write(source, "disk", [(SIZE + 8 * MIB, b"grown" * BLOCK)])
source.coffer("object", "snapshot", "disk", "--name", "s2")
source.coffer("object", "resize", "disk", "--size", str(SIZE - 16 * MIB), "--shrink")
write(source, "disk", [(0, b"last" * BLOCK)])
source.coffer("object", "snapshot", "disk", "--name", "s3")
contents = {name: read(source, "disk@" + name) for name in ("s1", "s2", "s3")}

# What is asked for must be there, and make sense.
assert "NAME@SNAPSHOT" in source.refused("object", "export", "disk", status=2)
assert "no snapshot" in source.refused("object", "export", "disk@s9", "--output", path("none"))
assert "is not older" in source.refused("object", "export", "disk@s1", "--since", "s2", "--output", path("none"), status=2)
assert "--output FILE" in source.refused("--json", "object", "export", "disk@s1", status=2)
assert "is no key" in source.refused("object", "export", "disk@s1", "--key-file", path("secret"), "--output", path("none"))
os.chmod(path("key"), 0o644)
assert "chmod" in source.refused("object", "export", "disk@s1", "--key-file", path("key"), "--output", path("none"))
os.chmod(path("key"), 0o600)
assert not os.path.exists(path("none"))

# Whole, and as differences; under no secret, a passphrase and a key.
told = source.json("object", "export", "disk@s1", "--output", path("s1"))
assert told["data_bytes"] == 24 * MIB and not told["encrypted"], told
assert "exists already" in source.refused("object", "export", "disk@s1", "--output", path("s1"))
source.coffer("object", "export", "disk@s2", "--since", "s1", "--passphrase-file", path("secret"), "--output", path("s2"))
with open(path("s3"), "wb") as file:
    subprocess.run([COFFER, "-C", source.directory, "object", "export", "disk@s3", "--since", "disk@s2", "--key-file",
                    path("key.hex"), "--output", "-"], stdout=file, check=True, env=source.environment, timeout=PATIENCE)
source.coffer("object", "export", "disk@s2", "--key-file", path("key"), "--output", path("s2.whole"))
assert os.path.getsize(path("s2")) < 4 * MIB < os.path.getsize(path("s1"))
assert b"new" * 100 not in get("s2") and b"text" * 100 not in get("s1"), "what packs is packed"
assert oct(os.stat(path("s1")).st_mode & 0o777) == "0o600"

# Verified without a pool.
verified = json.loads(run(COFFER, "--json", "object", "verify", path("s3"), "--key-file", path("key.hex")))
assert verified["base"] == "s2" and verified["size"] == SIZE - 16 * MIB and verified["encryption"] == "key file"
assert verified["chunks"] == len(chunks(get("s3"))) and verified["bytes"] == os.path.getsize(path("s3"))


def bad(stream, *words):
    result = subprocess.run([COFFER, "object", "verify", stream, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode in (1, 2, 3), result
    return result.stderr


assert "is not that of the stream" in bad(path("s2"), "--passphrase-file", path("wrong"))
assert "under a key file" in bad(path("s3"))
assert "no stream" in bad(path("secret"))
for words in (("--key-file", path("key")), ("--passphrase-file", path("secret"))):
    assert "nothing tells who wrote it" in bad(path("s1"), *words)

# The reader of a pipe goes away.
process = subprocess.Popen([COFFER, "-C", source.directory, "object", "export", "disk@s1"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=source.environment)
process.stdout.read(1000)
process.stdout.close()
assert b"closed the pipe" in process.stderr.read()
process.stderr.close()
assert process.wait(PATIENCE) == 1

# An export that was killed goes on; its file is then whole.
for cut in (100, 520, 5 * MIB, 15 * MIB):
    words = ("object", "export", "disk@s2", "--key-file", path("key"), "--output", path("resumed"))
    assert limited(source, cut, *words).returncode != 0
    assert os.path.getsize(path("resumed")) <= cut
    if cut < 600:  # within the header, within the manifest
        size = os.path.getsize(path("resumed"))
        plain = [word for word in words if word not in ("--key-file", path("key"))]
        assert ("remove it" if cut == 100 else "--key-file") in source.refused(*plain, "--resume")
        assert os.path.getsize(path("resumed")) == size, "whether it was to be encrypted is not known"
        assert "is written anew" in limited(source, 1 << 40, *words, "--resume").stderr
        run(COFFER, "object", "verify", path("resumed"), "--key-file", path("key"))
        os.unlink(path("resumed"))
        continue
    assert "cut off" in bad(path("resumed"), "--key-file", path("key"))
    assert limited(source, cut + 3 * MIB, *words, "--resume").returncode != 0
    assert "something else" in source.refused("object", "export", "disk@s1", "--key-file", path("key"), "--output",
                                              path("resumed"), "--resume")
    source.coffer(*words, "--resume")
    assert "There was already" in source.coffer(*words, "--resume")
    run(COFFER, "object", "verify", path("resumed"), "--key-file", path("key"))
    os.unlink(path("resumed")) if cut == 5 * MIB else None
# What was damaged is written anew.
damaged = bytearray(get("resumed"))
damaged[len(damaged) // 2] ^= 1
put("resumed", damaged)
source.coffer("object", "export", "disk@s2", "--key-file", path("key"), "--output", path("resumed"), "--resume")
run(COFFER, "object", "verify", path("resumed"), "--key-file", path("key"))

# What is wrong with a stream leaves nothing but what can go on or be given up.
whole = get("s1")
order = chunks(whole)
flips = {"header": 60, "salt": 50, "manifest": order[0][0] + HEAD + 3, "number": order[1][0] + 9, "tag": order[2][0] + 20,
         "data": order[5][0] + HEAD + 5000, "end": len(whole) - 3}
for part, at in flips.items():
    flipped = bytearray(whole)
    flipped[at] ^= 4
    sentence = target.refused("object", "import", put("flipped", flipped), "disk")
    assert "damaged" in sentence or "another order" in sentence, (part, sentence)
    assert [row["name"] for row in target.json("object", "list")] == imports(target)
cut = target.refused("object", "import", put("cut", whole[:order[3][0]]), "disk")
assert "cut off at byte" in cut and "goes on" in cut, cut
swapped = whole[:order[2][0]] + whole[slice(*order[3])] + whole[slice(*order[2])] + whole[order[3][1]:]
assert "another order" in target.refused("object", "import", put("swapped", swapped), "disk")
left_out = whole[:order[2][0]] + whole[order[2][1]:]
assert "are missing" in target.refused("object", "import", put("left_out", left_out), "disk")
assert "follows the end" in target.refused("object", "import", put("more", whole + b"x"), "disk")
assert len(imports(target)) == 1, "all of them were of one stream"
for guest in ("", *imports(target)):  # the only object there is, but nobody's disk yet
    try:
        connect(target, guest)
    except nbd.Error:
        continue
    assert False, f"a guest was let into what is being imported, as {guest!r}"

# An import that is killed, with its daemon too, goes on.
assert piped(target, whole[:order[4][0]], "disk", kill=True)[0] == -9
target.kill()
target.start()
status, error = piped(target, whole[:order[10][0]], "disk")
assert status == 1 and "the import stopped at byte" in error, error
marked = max(row["import_position"] for row in target.json("object", "list"))
assert marked >= 8 * MIB, marked
result = subprocess.run([COFFER, "-C", target.directory, "object", "import", path("s1"), "disk"], capture_output=True,
                        text=True, timeout=PATIENCE, env=target.environment)
assert result.returncode == 0 and f"at byte {marked}" in result.stderr, result
assert imports(target) == [] and read(target, "disk@s1") == contents["s1"] == read(target, "disk")
made, was = snapshots(target, "disk")["s1"], snapshots(source, "disk")["s1"]
assert made["created"] == was["created"] and made["identity"] == was["identity"] and made["uuid"] != was["uuid"]

# What the stream stands on must be what the target is.
assert "exists already" in target.refused("object", "import", path("s1"), "disk")
assert "does not have" in target.refused("object", "import", path("s3"), "disk", "--key-file", path("key.hex"))
assert "no object" in target.refused("object", "import", path("s3"), "nothing", "--key-file", path("key.hex"))
write(target, "disk", [(0, b"mine")])
secret = ("--passphrase-file", path("secret"))
assert "was written since" in target.refused("object", "import", path("s2"), *secret)
target.coffer("object", "rollback", "disk@s1", "--discard")
assert "is not that of the stream" in target.refused("object", "import", path("s2"), "--passphrase-file", path("wrong"))
holder = connect(target, "disk")
assert "in use" in target.refused("object", "import", path("s2"), *secret)
holder.shutdown()

# A difference whose chunks are not those that were sealed, in that order, is refused, and what of it is right is not adopted.
for name in ("one", "twin"):
    source.coffer("object", "export", "disk@s2", "--since", "s1", "--key-file", path("key"), "--output", path(name))
stream, twin = get("one"), get("twin")
order = chunks(stream)
assert chunks(twin) == order, "they differ in nothing but their salts"
wrong = {
    "cut": (stream[:order[2][0]], "cut off"),
    "last is missing": (stream[:order[-1][0]], "cut off"),
    "order": (stream[:order[1][0]] + stream[slice(*order[2])] + stream[slice(*order[1])] + stream[order[2][1]:], "another order"),
    "left out": (stream[:order[1][0]] + stream[order[1][1]:], "are missing"),
    "twice": (stream[:order[1][1]] + stream[order[1][0]:], "another order"),
    "foreign": (stream[:order[1][0]] + twin[slice(*order[1])] + stream[order[1][1]:], "another stream"),
    "foreign end": (stream[:order[1][1]] + twin[order[1][1]:], "another stream"),
}
for name, (data, words) in wrong.items():
    sentence = target.refused("object", "import", put("wrong", data), "disk", "--key-file", path("key"))
    assert words in sentence, (name, sentence)
    assert list(snapshots(target, "disk")) == ["s1"], name
assert read(target, "disk") == contents["s1"]
target.coffer("object", "delete", imports(target)[0], "--now")

# The target is what it was until all is there.
stream = get("s2")
status, error = piped(target, stream[:chunks(stream)[2][0]], "disk", *secret)
assert status == 1 and "cut off" in error, error
assert read(target, "disk") == contents["s1"] and len(imports(target)) == 1
write(target, "disk", [(0, b"mine")])
assert "was written since" in target.refused("object", "import", path("s2"), "disk", *secret)
target.coffer("object", "rollback", "disk@s1", "--discard")
target.coffer("object", "import", path("s2"), "disk", *secret)
assert read(target, "disk@s2") == contents["s2"] == read(target, "disk") and read(target, "disk@s1") == contents["s1"]
assert "already" in target.refused("object", "import", path("s2"), "disk", *secret)
target.coffer("object", "import", path("s3"), "disk", "--key-file", path("key.hex"))
assert read(target, "disk") == contents["s3"] and imports(target) == []
assert list(snapshots(target, "disk")) == ["s1", "s2", "s3"]
assert target.json("object", "diff", "disk@s1", "disk@s2")["data_bytes"] == \
       source.json("object", "diff", "disk@s1", "disk@s2")["data_bytes"]

# What was imported can be exported on, and a whole stream of a younger snapshot is a base as well.
target.coffer("object", "export", "disk@s3", "--since", "s2", "--output", path("on"))
source.coffer("object", "import", path("resumed"), "copy", "--key-file", path("key"))
source.coffer("object", "import", path("on"), "copy")
assert read(source, "copy@s3") == contents["s3"] and read(source, "copy@s2") == contents["s2"]

# No space: the target is as it was; with space the same command goes on.
small = Pool("256M")
small.start()
small.create_object("filler", 128 * MIB)
write(small, "filler", [(offset, rng.randbytes(MIB)) for offset in range(0, 128 * MIB, MIB)])
source.create_object("large", 256 * MIB)
write(source, "large", [(offset, rng.randbytes(MIB)) for offset in range(0, 100 * MIB, MIB)])
source.coffer("object", "snapshot", "large", "--name", "s")
source.coffer("object", "export", "large@s", "--output", path("large"))
sentence = small.refused("object", "import", path("large"))
assert "no space" in sentence and "goes on there" in sentence, sentence
assert [row["name"] for row in small.json("object", "list") if not row["importing"]] == ["filler"]
small.coffer("object", "delete", "filler", "--now")
deadline = time.monotonic() + PATIENCE
while subprocess.run([COFFER, "-C", small.directory, "object", "import", path("large")], capture_output=True, text=True,
                     timeout=PATIENCE, env=small.environment).returncode != 0:
    assert time.monotonic() < deadline, "the space does not come back"
    time.sleep(1)
assert read(small, "large") == read(source, "large@s")

# Given up.
assert piped(small, whole[:order[4][0]], "other")[0] == 1
small.coffer("object", "delete", imports(small)[0], "--now")
assert imports(small) == []

for pool in (source, target, small):
    pool.stop()
    pool.check()
