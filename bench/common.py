"""What the scripts of bench/ share: finding the programs, a pool with its daemon, runs of coffer-bench, and figures.

A script prints, for each figure, what was asked, what was measured and the command that measured it, and exits 0 where
all hold. The programs are found below COFFER_BUILD, else in PATH; pools and images lie in TMPDIR, else /var/tmp.
"""

import argparse
import atexit
import configparser
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
GIB = 1 << 30
FINGERPRINTS = ("xxh3", "hmac-sha256")
RESIDENT_ABOVE_MEMORY = 64 * MIB  # 320 MiB where memory = 256M
START_SECONDS = 120
MEMORY_CONTROLLER = "/sys/fs/cgroup/memory"

_failed = False
_places = []


def fail(sentence):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {sentence}")


def binary(name):
    """The path of a program of ours or of the system's."""
    build = os.environ.get("COFFER_BUILD")
    for root, _, files in os.walk(build) if build else ():
        path = os.path.join(root, name)
        if name in files and os.access(path, os.X_OK):
            return path
    return shutil.which(name) or fail(f"{name} is neither below COFFER_BUILD nor in PATH")


def run(*command, check=True):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        fail(f"{shown(command)} ended with {done.returncode}: {last}")
    return done.stdout


def shown(command):
    """As a person would type it: temporary directories are DIR."""
    text = shlex.join([os.path.basename(str(command[0])), *(str(word) for word in command[1:])])
    for path in _places:
        text = text.replace(path, "DIR")
    return text


def place(where=None):
    """A directory of this run, on a disk where nothing else is said, removed at the end."""
    made = tempfile.mkdtemp(prefix="coffer-bench-", dir=where or os.environ.get("TMPDIR") or "/var/tmp")
    _places.append(made)
    return made


@atexit.register
def _remove_places():
    for path in _places:
        shutil.rmtree(path, ignore_errors=True)


def figure(name, asked, measured, holds, command=None):
    """Prints one figure; where it does not hold the script fails in the end."""
    global _failed
    _failed = _failed or not holds
    print(f"{'holds' if holds else 'FAILS'}  {name}: asked {asked}, measured {measured}")
    if command:
        print(f"       $ {command if isinstance(command, str) else shown(command)}")
    sys.stdout.flush()


def note(sentence):
    print(f"       {sentence}")
    sys.stdout.flush()


def finish():
    sys.exit(1 if _failed else 0)


def size(text):
    units = {"K": 1 << 10, "M": MIB, "G": GIB, "T": 1 << 40}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(text)


def arguments(description, **options):
    """--fingerprint for every script; options: name -> (default, help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--fingerprint", choices=FINGERPRINTS, action="append", help="one mode only; both by default")
    for name, (default, text) in options.items():
        kind = type(default) if isinstance(default, (int, float)) else str
        parser.add_argument("--" + name.replace("_", "-"), default=default, type=kind, help=f"{text} ({default})")
    parsed = parser.parse_args()
    parsed.fingerprint = parsed.fingerprint or list(FINGERPRINTS)
    return parsed


def bench_command(*options):
    return [binary("coffer-bench"), *options]


def bench(*options):
    """One run of coffer-bench: its report and the command."""
    command = bench_command(*options)
    return json.loads(run(*command, "--json")), command


def percent(ratio):
    return f"{ratio * 100:.1f} %"


def rate(bytes_per_second):
    return f"{bytes_per_second / MIB:.0f} MiB/s"


def image(given=None):
    """The path of an ext4 image of /usr/lib, of 1 GiB at least; COFFER_BENCH_IMAGE names one that is there."""
    given = given or os.environ.get("COFFER_BENCH_IMAGE")
    if given:
        return given
    path = os.path.join(place(), "image")
    used = int(run("du", "-s", "--block-size=1", "/usr/lib").split()[0])
    with open(path, "wb") as file:
        file.truncate(max(GIB, used * 115 // 100 // MIB * MIB + 128 * MIB))
    inodes = 1024 + sum(1 + len(files) for _, _, files in os.walk("/usr/lib")) * 2
    run(shutil.which("mkfs.ext4") or "/usr/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", inodes, "-d",
        "/usr/lib", path)
    return path


def baseline(path, codec="zstd-1"):
    return bench("baseline", path, "--codec", codec)


def answered(error):
    """The completion of a read or write through libnbd."""
    if error.value:
        fail(f"a request failed: {os.strerror(error.value)}")
    return 1


class Cage:
    """A memory cgroup (version 1; for root) that kills what outgrows it; where there is none, nothing is confined. Nor is who
    writes to files in memory: these count in it."""

    def __init__(self, bytes_count, confines=True):
        self.bytes, self.path, self.why = bytes_count, None, "no memory cgroup here"
        if not confines:
            self.why = "its files in memory would count in a memory cgroup"
            return
        self.path = os.path.join(MEMORY_CONTROLLER, f"coffer-bench-{os.getpid()}-{time.monotonic_ns()}")
        try:
            os.mkdir(self.path)
        except OSError:
            self.path = None
            return
        self._write("memory.limit_in_bytes", bytes_count)
        atexit.register(self._remove)

    def _write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def _read(self, name):
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            return file.read()

    def _remove(self):
        try:
            os.rmdir(self.path)
        except OSError:
            pass

    def enter(self):
        """Between fork and exec."""
        if self.path:
            self._write("cgroup.procs", os.getpid())

    def figure(self, what):
        if not self.path:
            note(f"{self.why}: {what} was not confined")
            return
        kills = int(next(line for line in self._read("memory.oom_control").splitlines()
                         if line.startswith("oom_kill ")).split()[1])
        figure(f"{what} in a memory cgroup of {self.bytes / MIB:.0f} MiB, page cache and kernel included",
               "nothing killed", f"{kills} killed", kills == 0)


class Control:
    """A connection to the control socket: calls and how long they take, without a process for each."""

    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.path.join(directory, "control.sock"))
        self.lines = self.socket.makefile("rb")

    def call(self, method, **parameters):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self.lines.readline())
        if "error" in answer:
            fail(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def timed(self, method, **parameters):
        began = time.monotonic()
        self.call(method, **parameters)
        return time.monotonic() - began


def milliseconds(times):
    """Median, 99th percentile and longest of times in seconds."""
    ordered = sorted(times)
    return (f"p50 {ordered[len(ordered) // 2] * 1e3:.2f} ms, p99 {ordered[len(ordered) * 99 // 100] * 1e3:.2f} ms, "
            f"longest {ordered[-1] * 1e3:.2f} ms")


class Pool:
    """A pool in a directory of its own, and its daemon."""

    core = None  # of the daemon, where it is bound to one

    def __init__(self, bytes_text, fingerprint="xxh3", memory="256M", create=(), where=None, **conf):
        self.base = place(where)
        self.directory = os.path.join(self.base, "pool")
        self.messages = os.path.join(self.base, "messages")
        self.daemon = None
        self.memory = memory
        self.resident_peak = 0
        self.cage = Cage(size(memory) + RESIDENT_ABOVE_MEMORY, where is None)
        self.create = [binary("coffer"), "create", self.directory, "--size", bytes_text, "--fingerprint", fingerprint,
                       *create]
        run(*self.create)
        for key, value in {"memory": memory, **conf}.items():
            self.conf_set(key.replace("_", "-"), value)
        atexit.register(self.kill)

    def conf_set(self, key, value):
        """Sets a line of [pool]; the daemon reads it when it starts next."""
        path = os.path.join(self.directory, "coffer.conf")
        conf = configparser.RawConfigParser(strict=False, interpolation=None)
        with open(path, encoding="utf-8") as file:
            conf.read_file(file)
        if not conf.has_section("pool"):
            conf.add_section("pool")
        conf.set("pool", key, str(value))
        with open(path, "w", encoding="utf-8") as file:
            conf.write(file)

    @property
    def socket(self):
        return os.path.join(self.directory, "nbd.sock")

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.socket}"

    def start(self):
        """Returns the seconds until the export's socket accepts and the daemon tells its status."""
        started = time.monotonic()
        with open(self.messages, "ab") as messages:
            self.daemon = subprocess.Popen([binary("cofferd"), self.directory], stdout=messages, stderr=messages,
                                           preexec_fn=self._before)
        while not (self._accepts() and self._answers()):
            if self.daemon.poll() is not None or time.monotonic() - started > START_SECONDS:
                with open(self.messages, encoding="utf-8", errors="replace") as messages:
                    fail("cofferd did not start: " + messages.read()[-500:])
            time.sleep(0.01)
        return time.monotonic() - started

    def _before(self):
        """Between fork and exec."""
        self.cage.enter()
        if self.core is not None:
            os.sched_setaffinity(0, {self.core})

    def _accepts(self):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.socket)
                return True
            except OSError:
                return False

    def _answers(self):
        command = [binary("coffer"), "-C", self.directory, "--json", "status"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def _running(self):
        return self.daemon is not None and self.daemon.poll() is None

    def resident(self):
        """The most memory that the running daemon ever had resident, as the kernel counted it."""
        with open(f"/proc/{self.daemon.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        self.resident_peak = max(self.resident_peak, int(line.split()[1]) * 1024)
        return self.resident_peak

    def kill(self):
        if self._running():
            self.resident()
            self.daemon.send_signal(signal.SIGKILL)
            self.daemon.wait()

    def stop(self):
        if self._running():
            self.resident()
            self.daemon.terminate()
            if self.daemon.wait(300):
                fail(f"cofferd ended with {self.daemon.returncode} when it was asked to stop")

    def settle(self):
        """A clean stop publishes a checkpoint: afterwards the figures stand for what is on the disk."""
        self.stop()
        self.start()
        return self.status()

    def coffer(self, *words):
        return run(binary("coffer"), "-C", self.directory, *words)

    def object_create(self, name, bytes_count):
        self.coffer("object", "create", name, "--size", bytes_count)

    def status(self):
        return json.loads(run(binary("coffer"), "-C", self.directory, "--json", "status"))

    def written(self, status=None):
        """Bytes written to the devices since the daemon started."""
        groups = (status or self.status())["groups"]
        return sum(device["write_bytes"] for group in groups for device in group["devices"])

    def memory_figure(self):
        """Every script that starts a daemon holds it to this."""
        if self._running():
            self.resident()
        most = size(self.memory) + RESIDENT_ABOVE_MEMORY
        figure(f"resident size of cofferd at memory = {self.memory}", f"at most {most / MIB:.0f} MiB",
               f"{self.resident_peak / MIB:.0f} MiB", self.resident_peak <= most, "VmHWM of /proc/PID/status")
        self.cage.figure("cofferd")
