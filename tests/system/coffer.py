"""What every system test needs: a pool of its own in a temporary directory, its daemon, its commands, its clients.

The binaries come from the environment: COFFER and COFFERD, set by CMakeLists.txt.
"""
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import seen

COFFER = os.environ["COFFER"]
COFFERD = os.environ["COFFERD"]
SANITIZED = os.environ.get("COFFER_SANITIZE", "") != ""
SKIPPED = 77  # as CMakeLists.txt says
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCK = 4096
RESIDENT_MAX = 320 * MIB  # for a daemon with memory = 256M
PATIENCE = 120  # seconds: nothing here takes a tenth of it

os.environ["PATH"] = "/usr/bin:/usr/sbin:/sbin:" + os.environ["PATH"]


def skip(why):
    seen.excused = True
    print("skipped:", why)
    sys.exit(SKIPPED)


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            skip(program + " is not installed")


def run(*command, **options):
    """Runs a program that must succeed; returns what it printed."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout


class Pool:
    """A pool directory and its daemon; nothing is left behind."""
    learns = False  # its keys whenever it was stopped, and looks for them where none may be

    def __init__(self, size="1G", *options, create=True):
        seen.expects_keys |= self.learns
        self.base = tempfile.mkdtemp(prefix="coffer-system-")
        atexit.register(self.remove)
        self.directory = os.path.join(self.base, "pool")
        self.messages = os.path.join(self.base, "messages")
        self.daemon = None
        self.environment = dict(os.environ, COFFER_RUN=os.path.join(self.base, "run"))
        os.mkdir(self.environment["COFFER_RUN"])
        if create:
            storage = ["--size", size] if size else []
            self.run(COFFER, "create", self.directory, *storage, *options)

    # ---- commands

    def run(self, *command, **options):
        return run(*command, env=self.environment, **options)

    def coffer(self, *words):
        return self.run(COFFER, "-C", self.directory, *words)

    def json(self, *words):
        return json.loads(self.coffer("--json", *words))

    def refused(self, *words, status=None):
        """Runs a command that must fail; returns its sentence."""
        result = subprocess.run([COFFER, "-C", self.directory, *words], capture_output=True, text=True,
                                timeout=PATIENCE, env=self.environment)
        assert result.returncode != 0, f"{words} was not refused"
        assert status is None or result.returncode == status, f"{words}: status {result.returncode}: {result.stderr}"
        assert result.stderr.strip(), f"{words} was refused without a sentence"
        return result.stderr

    def secret(self, name, text):
        """A file with a line that only its owner reads."""
        path = os.path.join(self.base, name)
        with open(path, "w") as file:
            file.write(text + "\n")
        os.chmod(path, 0o600)
        seen.learn_secret(name, text)
        return path

    def create_object(self, name, size):
        self.coffer("object", "create", name, "--size", str(size))

    def status(self):
        return self.json("status")

    def health(self):
        """The checks by id, also where one is an error, which the exit status tells."""
        result = subprocess.run([COFFER, "-C", self.directory, "--json", "health"], capture_output=True, text=True,
                                timeout=PATIENCE, env=self.environment)
        return {row["id"]: row for row in json.loads(result.stdout)}

    def check(self):
        """The checker finds nothing."""
        self.run(COFFER, "check", self.directory)

    # ---- the daemon

    @property
    def socket(self):
        return os.path.join(self.directory, "nbd.sock")

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.socket}"

    def launch(self, *options):
        log = open(self.messages, "a")
        self.daemon = subprocess.Popen([COFFERD, self.directory, *options], stdout=log, stderr=log,
                                       env=self.environment)
        log.close()

    def answers(self):
        try:
            for path in (self.socket, os.path.join(self.directory, "control.sock")):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
            return True
        except OSError:
            return False

    def start(self, *options):
        self.launch(*options)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.daemon.poll() is None, "cofferd ended: " + self.last_messages()
            assert time.monotonic() < deadline, "cofferd does not answer: " + self.last_messages()
            time.sleep(0.01)
        return self

    def start_refused(self, *options, status=None):
        """Starts a daemon that must give up; returns its messages."""
        before = os.path.getsize(self.messages) if os.path.exists(self.messages) else 0
        self.launch(*options)
        ended = self.daemon.wait(PATIENCE)
        with open(self.messages) as file:
            file.seek(before)
            said = file.read()
        assert ended > 0, f"cofferd was not refused, but ended with {ended}: {said}"
        assert status is None or ended == status, f"cofferd ended with {ended}: {said}"
        assert said.strip(), "cofferd gave up without a word"
        return said

    def last_messages(self):
        with open(self.messages) as file:
            return file.read()[-2000:]

    def check_resident(self):
        with open(f"/proc/{self.daemon.pid}/status") as file:
            peak = next(int(line.split()[1]) * KIB for line in file if line.startswith("VmHWM"))
        assert SANITIZED or peak <= RESIDENT_MAX, f"cofferd had {peak / MIB:.0f} MiB resident"

    def kill(self):
        self.check_resident()
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def stop(self, check_resident=True):
        if check_resident:
            self.check_resident()
        self.daemon.terminate()
        ended = self.daemon.wait(PATIENCE)
        assert ended == 0, f"cofferd ended with {ended}: {self.last_messages()}"
        if self.learns:
            self.learn(opens=False)

    def learn(self, passphrase=None, opens=True):
        """The keys that it has now, which no process may show; nor has one of them, or of those before, come to a disk, to a
        file of the pool directory or into a message. What its provider does not give now, another stop learns."""
        import key_scan
        more = key_scan.keys_of(self, passphrase, opens)
        seen.learn_keys(more)
        found = key_scan.found_in_files(self)
        assert not found, found
        return more

    def remove(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    # ---- a disk that is known again

    def fill(self):
        self.create_object("disk", MIB)
        handle = connect(self, "disk")
        handle.pwrite(b"here", 0)
        handle.shutdown()

    def serves(self):
        handle = connect(self, "disk")
        assert bytes(handle.pread(4, 0)) == b"here"
        handle.shutdown()

    # ---- devices

    @property
    def disk(self):
        """The sparse file that is the pool's one device."""
        sizes = {os.path.getsize(path): path for path in self.files()}
        return sizes[max(sizes)]

    def files(self):
        for folder, _, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    yield path


def copy_sparse(source, target):
    run("cp", "--sparse=always", "--preserve=mode", source, target)


def connect(pool, name):
    import nbd
    handle = nbd.NBD()
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.connect_uri(pool.uri(name))
    return handle
