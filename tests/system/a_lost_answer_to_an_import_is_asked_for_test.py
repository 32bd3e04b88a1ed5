#!/usr/bin/python3
"""An import asks the daemon to adopt what it wrote, and the answer is lost. Where that was done the pool tells it; where the pool
cannot be asked any more nobody says that the target is as it was; where the question did not arrive it is, and the same command
goes on."""
import os
import socket
import subprocess
import threading

from coffer import COFFER, MIB, PATIENCE, Pool, connect


def relay(client, forwards, ends):
    """One question a connection. Of import.finish the answer never comes back; `ends`: nor does any after it."""
    with client, client.makefile("rb") as asked, socket.socket(socket.AF_UNIX) as server:
        server.connect(os.path.join(pool.directory, "control.sock"))
        answers = server.makefile("rb")
        for line in asked:
            if ends.is_set():
                return
            finishes = b'"import.finish"' in line
            if not finishes or forwards:
                server.sendall(line)
                answer = answers.readline()
            if finishes:
                if forwards == "once":
                    ends.set()
                return
            client.sendall(answer)


def serve(forwards):
    path = os.path.join(pool.base, f"relay-{forwards}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    ends = threading.Event()

    def accept():
        while True:
            threading.Thread(target=relay, args=(listener.accept()[0], forwards, ends), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return path


def imported(control, name):
    return subprocess.run([COFFER, "-C", control, "object", "import", stream, name, "--nbd", "unix:" + pool.socket],
                          capture_output=True, text=True, timeout=PATIENCE, env=pool.environment)


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
pool.stop()
pool.check()
