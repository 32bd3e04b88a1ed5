#!/usr/bin/python3
"""Of two clients that import one stream, the one that comes later to what the other has finished meanwhile does not write over
the disk that it became, which is in use by then."""
import os
import socket
import threading

from coffer import MIB, Pool, connect

pool = Pool("256M")
pool.start()
pool.create_object("disk", 4 * MIB)
handle = connect(pool, "disk")
handle.pwrite(os.urandom(MIB), 0)
handle.shutdown()
pool.coffer("object", "snapshot", "disk", "--name", "s")
stream, between = (os.path.join(pool.base, name) for name in ("stream", "between.sock"))
pool.coffer("object", "export", "disk@s", "--output", stream)
listener = socket.socket(socket.AF_UNIX)
listener.bind(between)
listener.listen()


def relay(source, target):
    while data := source.recv(MIB):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def overtake():
    """Stands before the daemon's socket: before the client comes through, another has done all, and the disk is written."""
    client = listener.accept()[0]
    pool.coffer("object", "import", stream, "copy")
    handle = connect(pool, "copy")
    handle.pwrite(b"mine", 0)
    handle.shutdown()
    server = socket.socket(socket.AF_UNIX)
    server.connect(pool.socket)
    answers = threading.Thread(target=relay, args=(server, client))
    answers.start()
    relay(client, server)
    answers.join()


other = threading.Thread(target=overtake)
other.start()
sentence = pool.refused("object", "import", stream, "copy", "--nbd", "unix:" + between)
assert "somebody else has imported this stream meanwhile" in sentence, sentence
other.join()
handle = connect(pool, "copy")
assert bytes(handle.pread(4, 0)) == b"mine", "the disk in use was written over"
handle.shutdown()
pool.stop()
pool.check()
