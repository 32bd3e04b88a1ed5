#!/usr/bin/python3
"""An import asks the daemon to adopt what it wrote, and the answer is lost. Where that was done the pool tells it; where the pool
cannot be asked any more nobody says that the target is as it was; where the question did not arrive it is, and the same command
goes on. A refusal stays one, though another import has brought the target the same meanwhile; where that was done of this very
import, under another name, that name is told."""
import itertools
import json
import os
import socket
import subprocess
import threading
import time

from coffer import COFFER, MIB, PATIENCE, Pool, connect


def relay(client, forwards, ends):
    """One question a connection. Of import.finish the answer never comes back; `ends`: nor does any after it. Where `forwards`
    is to be called, it is, before import.finish arrives, whose answer comes back then."""
    with client, client.makefile("rb") as asked, socket.socket(socket.AF_UNIX) as server:
        server.connect(os.path.join(pool.directory, "control.sock"))
        answers = server.makefile("rb")
        for line in asked:
            if ends.is_set():
                return
            finishes = b'"import.finish"' in line
            if finishes and callable(forwards):
                forwards()
                finishes = False
            if not finishes or forwards:
                server.sendall(line)
                answer = answers.readline()
            if finishes:
                if forwards == "once":
                    ends.set()
                return
            client.sendall(answer)


def serve(forwards):
    path = os.path.join(pool.base, f"relay-{next(numbers)}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    ends = threading.Event()

    def accept():
        while True:
            threading.Thread(target=relay, args=(listener.accept()[0], forwards, ends), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return path


def imported(control, name, *words, snapshot=()):
    return subprocess.run([COFFER, "-C", control, *words, "object", "import", stream, name, *snapshot, "--nbd",
                           "unix:" + pool.socket], capture_output=True, text=True, timeout=PATIENCE, env=pool.environment)


def overtake(name):
    """The daemon needs a moment to close what was written to, and a question may be asked twice."""
    ends = time.monotonic() + PATIENCE
    while imports() and time.monotonic() < ends:
        if imported(pool.directory, name, snapshot=("--snapshot", "monday")).returncode != 0:
            time.sleep(0.1)


def imports():
    return [row["name"] for row in pool.json("object", "list") if row["importing"]]


numbers = itertools.count()
pool = Pool("512M")
pool.start()
stream = os.path.join(pool.base, "stream")
pool.create_object("disk", 8 * MIB)
handle = connect(pool, "disk")
handle.pwrite(b"bytes" * 1000, 0)
handle.shutdown()
pool.coffer("object", "snapshot", "disk", "--name", "s1")
pool.coffer("object", "export", "disk@s1", "--output", stream)

lost = imported(serve("always"), "done")
assert lost.returncode == 0 and "Imported 'done@s1'" in lost.stdout, lost.stderr
pool.coffer("object", "show", "done@s1")

lost = imported(serve("once"), "perhaps")
assert lost.returncode != 0 and "is not known" in lost.stderr and "as it was" not in lost.stderr, lost.stderr
pool.coffer("object", "show", "perhaps@s1")

lost = imported(serve(""), "undone")
assert lost.returncode != 0 and "'undone' is as it was" in lost.stderr, lost.stderr
pool.refused("object", "show", "undone")
again = imported(pool.directory, "undone")
assert again.returncode == 0 and "Going on with an import" in again.stderr, again.stderr
pool.coffer("object", "show", "undone@s1")

# Two imports of one snapshot, by two streams.
pool.coffer("object", "export", "disk@s1", "--output", stream + "-2")
refused = imported(serve(lambda: pool.coffer("object", "import", stream + "-2", "twice")), "twice")
assert refused.returncode != 0 and "'twice' exists already" in refused.stderr, refused
assert "the import stopped at byte" in refused.stderr and "Imported" not in refused.stdout, refused
assert len(imports()) == 1 and f"object delete {imports()[0]} --now" in refused.stderr, refused.stderr
pool.coffer("object", "delete", imports()[0], "--now")

# Another client finishes this very import.
for name, words in (("both", ()), ("both-json", ("--json",))):
    done = imported(serve(lambda: overtake(name)), name, *words)
    assert done.returncode == 0, done.stderr
    if words:
        told = json.loads(done.stdout)
        assert (told["snapshot"], told["target_snapshot"], told["target"]["name"]) == ("s1", "monday", name), told
    else:
        assert f"Imported '{name}@monday'" in done.stdout, done.stdout
assert imports() == []

# A name that the user gave is told too. A long sentence keeps its end, which is to be typed.
told = pool.json("object", "import", stream, "c" * 255, "--snapshot", "s" * 90)
assert (told["snapshot"], told["target_snapshot"]) == ("s1", "s" * 90), told
pool.coffer("object", "snapshot", "disk", "--name", "s2")
pool.coffer("object", "export", "disk@s2", "--since", "s1", "--output", stream + "-3")
handle = connect(pool, "c" * 255)
handle.pwrite(b"mine", 0)
handle.shutdown()
sentence = pool.refused("object", "import", stream + "-3", "c" * 255)
assert len(sentence) > 800 and sentence.rstrip().endswith("is lost unless it is cloned before"), sentence
pool.stop()
pool.check()
