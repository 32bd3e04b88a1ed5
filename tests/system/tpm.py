"""A TPM in software (swtpm) for a test, and a proxy before it that records what goes over the wire.

Each has an address of its own below 127/8, made from the process id, so that nothing can be in its way.
"""
import atexit
import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from coffer import PATIENCE, need

PORT = 2321
PR_SET_PDEATHSIG = 1
NO_SESSIONS, SESSIONS = 0x8001, 0x8002
CREATE, LOAD, UNSEAL, START_SESSION = 0x153, 0x157, 0x15e, 0x176
NULL_HANDLE = 0x40000007
NULL_ALGORITHM = 0x10
DECRYPT, ENCRYPT = 0x20, 0x40
made = 0


def own_address():
    """Another one for each that this process asks for."""
    global made
    made += 1
    number = os.getpid() * 8 + made  # fewer are made
    return f"127.{128 + (number >> 16) % 64}.{number >> 8 & 255}.{number & 255}"


def connects(address, port):
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


class Tpm:
    def __init__(self):
        need("swtpm")
        self.state = tempfile.mkdtemp(prefix="coffer-swtpm-")
        self.address = own_address()
        self.tcti = f"swtpm:host={self.address},port={PORT}"
        self.process = None
        atexit.register(self.remove)
        self.start()

    def start(self):
        where = f"bindaddr={self.address}"
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.state, "--server", f"type=tcp,port={PORT},{where}",
             "--ctrl", f"type=tcp,port={PORT + 1},{where}", "--flags", "not-need-init,startup-clear"],
            preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        deadline = time.monotonic() + PATIENCE
        while not (connects(self.address, PORT) and connects(self.address, PORT + 1)):
            assert self.process.poll() is None and time.monotonic() < deadline, "swtpm does not start"
            time.sleep(0.01)

    def stop(self):
        """Without a word, as a power loss does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.state, ignore_errors=True)


class Proxy:
    """Passes on what comes and keeps it: `sent` and `answered`, whole, in the order of their pieces."""

    def __init__(self, tpm):
        self.tpm = tpm
        self.address = own_address()
        self.tcti = f"swtpm:host={self.address},port={PORT}"
        self.sent, self.answered = bytearray(), bytearray()
        self.listeners = []
        for port, keeps in ((PORT, True), (PORT + 1, False)):
            listener = socket.create_server((self.address, port))
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener, port, keeps), daemon=True).start()

    def accept(self, listener, port, keeps):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((self.tpm.address, port))
            for source, target, record in ((client, server, self.sent), (server, client, self.answered)):
                threading.Thread(target=self.pump, args=(source, target, record if keeps else bytearray()),
                                 daemon=True).start()

    @staticmethod
    def pump(source, target, record):
        try:
            while data := source.recv(65536):
                record += data  # before it goes on: who got the answer finds it here
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def forget(self):
        self.sent.clear()
        self.answered.clear()

    def everything(self):
        return bytes(self.sent) + bytes(self.answered)

    def commands(self):
        """(code, body behind the code, tag) of each command; they come one after another."""
        data, found = bytes(self.sent), []
        while data:
            tag, size, code = struct.unpack(">HII", data[:10])
            assert len(data) >= size >= 10, "not whole commands"
            found.append((code, data[10:size], tag))
            data = data[size:]
        return found


def session_of(body, handles):
    """Handle and attributes of the first session of a command with so many handles."""
    area = body[4 * handles + 4:]
    nonce = struct.unpack(">H", area[4:6])[0]
    return struct.unpack(">I", area[:4])[0], area[6 + nonce]


def sessions_started(commands):
    """(key that salts, size of the salt, kind, cipher) of each."""
    for code, body, _ in commands:
        if code == START_SESSION:
            key = struct.unpack(">I", body[:4])[0]
            nonce = struct.unpack(">H", body[8:10])[0]
            rest = body[10 + nonce:]
            salt = struct.unpack(">H", rest[:2])[0]
            kind, cipher = struct.unpack(">BH", rest[2 + salt:5 + salt])
            yield key, salt, kind, cipher
