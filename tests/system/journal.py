"""A journal in the place of systemd's, for a test that asks what a service tells it: a file system of its own at /run, with
the sockets at which journald listens. A unit's standard error is a stream to it; who speaks to it himself sends datagrams.
"""
import atexit
import ctypes
import os
import shutil
import socket
import threading

from coffer import skip

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
PLACE = "/run/systemd/journal"


def call(function, *words):
    if function(*words) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make_place():
    """Where nothing can be mounted apart (below a chroot, in a container) the place itself, if no journal has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        call(libc.unshare, CLONE_NEWNS)
        call(libc.mount, b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        call(libc.mount, b"none", b"/run", b"tmpfs", 0, None)
    except OSError as error:
        if os.path.exists(PLACE):
            skip(f"a journal has {PLACE}, and nothing can be mounted apart: {error}")
        atexit.register(shutil.rmtree, PLACE, ignore_errors=True)
    os.makedirs(PLACE)


class Journal:
    """For the processes that this thread starts from now on."""

    def __init__(self):
        make_place()
        self.datagrams = bytearray()
        self.streams = self.listen("stdout", socket.SOCK_STREAM)
        self.streams.listen()
        self.direct = [self.listen(name, socket.SOCK_DGRAM) for name in ("socket", "dev-log")]
        for one in self.direct:
            threading.Thread(target=self.receive, args=(one,), daemon=True).start()

    def listen(self, name, kind):
        one = socket.socket(socket.AF_UNIX, kind)
        one.bind(os.path.join(PLACE, name))
        return one

    def receive(self, one):
        while True:
            self.datagrams += one.recv(1 << 16)

    def stream(self, path):
        """A standard error as systemd makes it, and what it is called in the environment; what comes is kept in a file."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.connect(os.path.join(PLACE, "stdout"))
        other, _ = self.streams.accept()
        threading.Thread(target=self.keep, args=(other, path), daemon=True).start()
        status = os.fstat(end.fileno())
        return end, f"{status.st_dev}:{status.st_ino}"

    def keep(self, other, path):
        with open(path, "ab", buffering=0) as file:
            while data := other.recv(1 << 16):
                file.write(data)
