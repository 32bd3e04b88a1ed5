"""A TPM in software (swtpm) for a test, and a proxy before it that records what goes over the wire.

Each has an address of its own below 127/8, made from the process id, so that nothing can be in its way.
"""
import atexit
import collections
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
PCR_EXTEND, GET_CAPABILITY, CAPABILITY_HANDLES = 0x182, 0x17a, 1
NULL_HANDLE, PASSWORD_SESSION = 0x40000007, 0x40000009
SHA256 = 0x0b
NULL_ALGORITHM = 0x10
DECRYPT, ENCRYPT = 0x20, 0x40
ANSWER_DATA = collections.defaultdict(int, {LOAD: 20, UNSEAL: 16})  # behind head, handle, size of the parameters, its own
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

    def fresh(self):
        """Ended and started: what lies in its slots is gone."""
        self.stop()
        self.start()

    def slots_filled(self):
        """Objects and sessions that somebody left in it."""
        count = 0
        for first in (0x80000000, 0x02000000):
            with socket.create_connection((self.address, PORT)) as client:
                client.sendall(struct.pack(">HIIIII", NO_SESSIONS, 22, GET_CAPABILITY, CAPABILITY_HANDLES, first, 16))
                answer = client.recv(4096)
            assert struct.unpack(">I", answer[6:10])[0] == 0
            count += struct.unpack(">I", answer[15:19])[0]
        return count

    def extend(self, pcr, value):
        """What firmware does at a start: PCR = SHA-256(PCR | value)."""
        body = struct.pack(">IIIHBH", pcr, 9, PASSWORD_SESSION, 0, 0, 0) + struct.pack(">IH", 1, SHA256) + value
        with socket.create_connection((self.address, PORT)) as client:
            client.sendall(struct.pack(">HII", SESSIONS, 10 + len(body), PCR_EXTEND) + body)
            assert struct.unpack(">I", client.recv(4096)[6:10])[0] == 0

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
        self.spoilt = None  # the code of the command whose answers are changed
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

    def spoil(self, answer):
        """Of what the TPM says, the first byte behind its sizes; who asked waits for each answer."""
        code = self.commands()[-1][0]
        at = ANSWER_DATA[code]
        return answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1:] if code == self.spoilt else answer

    def pump(self, source, target, record):
        try:
            while data := source.recv(65536):
                if record is self.answered and self.spoilt is not None:
                    data = self.spoil(data)
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
