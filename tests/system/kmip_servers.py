"""What the tests of key servers share: certificates made by openssl, real PyKMIP servers, and a hand on their keys."""
import atexit
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import time
import warnings

import nbd

from coffer import PATIENCE, Pool, connect, run, skip

try:
    from kmip.core import enums
    from kmip.pie import client as pie
    from kmip.pie import objects
except ImportError:
    skip("python3-pykmip is not installed")

warnings.simplefilter("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
VERSIONS = ("1.2", "1.3", "1.4", "2.0")


def openssl(*words, **options):
    run("openssl", *words, **options)


class KmipPool(Pool):
    """A pool to be made with its key on servers."""

    def __init__(self):
        super().__init__(create=False)
        self.certificates = Certificates(os.path.join(self.base, "certificates"))
        self.database = os.path.join(self.base, "keys")

    def server(self, **options):
        return Server(self.certificates, self.database, **options)

    def create(self, *servers):
        self.coffer("create", self.directory, "--size", "512M", *options(self.certificates, *servers))
        return self

    def create_refused(self, *words, status=None):
        said = self.refused("create", self.directory, "--size", "512M", *words, status=status)
        assert not os.path.exists(self.directory), "a pool that was not made is there"
        return said

    @property
    def conf(self):
        return os.path.join(self.directory, "coffer.conf")

    @property
    def key_name(self):
        with open(self.conf) as file:
            uuid = next(line.split()[2] for line in file if line.startswith("uuid"))
        return f"coffer/{uuid}/kek/1"

    def conf_text(self):
        with open(self.conf) as file:
            return file.read()

    def conf_change(self, key, value):
        """Another value for a key, given once or more often, of the provider."""
        text = self.conf_text()
        changed = re.sub(rf"^{key} = .*\n(?:{key} = .*\n)*", f"{key} = {value}\n", text, flags=re.MULTILINE)
        assert changed != text, key
        with open(self.conf, "w") as file:
            file.write(changed)

    def look(self):
        """The daemon looks at the servers at once, which it would do within half a minute: somebody unlocks."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(os.path.join(self.directory, "control.sock"))
            control.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "pool.unlock"}\n')
            assert b"is open already" in control.recv(65536)

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.last_messages()
            time.sleep(0.1)

    def start_locked(self, *words):
        """Started, it is alive and locked, tries on, and says why."""
        if os.path.exists(self.messages):
            os.truncate(self.messages, 0)
        self.start()
        status = self.status()
        assert status["locked"] and status["awaits_key"], status
        for word in words:
            assert word in status["why_locked"], (word, status["why_locked"])
        try:
            connect(self, "disk")
        except nbd.Error:
            return
        raise AssertionError("a locked pool serves")


class Certificates:
    """A CA, a server of 127.0.0.1 and a client, in a directory."""

    def __init__(self, directory, name="127.0.0.1", client="coffer"):
        self.directory = directory
        os.makedirs(directory)
        self.sign_self("ca", "CA of " + os.path.basename(directory))
        san = "IP:" + name if name[0].isdigit() else "DNS:" + name
        self.sign("server", "server", f"subjectAltName={san}\nextendedKeyUsage=serverAuth\n")
        self.sign("client", client, "extendedKeyUsage=clientAuth\n")

    def path(self, name):
        return os.path.join(self.directory, name)

    def sign_self(self, name, subject):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-keyout", self.path(name + ".key"), "-out", self.path(name + ".pem"), "-subj", "/CN=" + subject)

    def sign(self, name, subject, extensions):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.path(name + ".key"), "-out", self.path(name + ".csr"), "-subj", "/CN=" + subject)
        with open(self.path(name + ".ext"), "w") as file:
            file.write(extensions)
        openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path("ca.pem"), "-CAkey",
                self.path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", self.path(name + ".ext"), "-out",
                self.path(name + ".pem"))
        os.chmod(self.path(name + ".key"), 0o600)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A PyKMIP server; two with one database are a cluster."""

    def __init__(self, certificates, database, port=None, versions=VERSIONS, delay=0):
        self.certificates, self.database, self.delay = certificates, database, delay
        self.port = port or free_port()
        self.versions = ",".join(versions)
        self.process = None
        atexit.register(self.stop)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "kmip_server.py"), str(self.port), self.certificates.directory,
             self.database, self.versions, str(self.delay)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else b""
        assert line == b"ready\n", (line, self.process.stderr.read() if line == b"" and ready else b"")
        return self

    def stand_still(self):
        """It takes connections, as the kernel does for it, and says nothing."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self):
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, 9)  # its helper processes, too
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process = None

    def client(self):
        """Another program that is known as the same client."""
        config = os.path.join(self.certificates.directory, "pykmip.conf")
        with open(config, "w") as file:
            file.write("[client]\n")
        return pie.ProxyKmipClient(
            hostname="127.0.0.1", port=self.port, cert=self.certificates.path("client.pem"),
            key=self.certificates.path("client.key"), ca=self.certificates.path("ca.pem"), config_file=config,
            kmip_version=enums.KMIPVersion["KMIP_" + self.versions.split(",")[0].replace(".", "_")])

    def ids(self):
        with self.client() as client:
            return client.locate()

    def name_of(self, identifier):
        with self.client() as client:
            _, found = client.get_attributes(identifier, ["Name"])
            return found[0].attribute_value.name_value.value

    def revoke(self, identifier, reason=enums.RevocationReasonCode.CESSATION_OF_OPERATION):
        with self.client() as client:
            client.revoke(reason, identifier)

    def destroy(self, identifier):
        with self.client() as client:
            client.revoke(enums.RevocationReasonCode.KEY_COMPROMISE, identifier)
            client.destroy(identifier)

    def state_set(self, identifier, state):
        """What only a server's own hand can do: PyKMIP takes a key away that is destroyed."""
        with sqlite3.connect(self.database) as database:
            database.execute("UPDATE crypto_objects SET state = ? WHERE uid = ?", (state.value, identifier))

    def key(self, identifier):
        with self.client() as client:
            return client.get(identifier).value

    def destroy_all(self):
        for identifier in self.ids():
            self.destroy(identifier)

    def register(self, name, key, bits=256, masks=(enums.CryptographicUsageMask.DERIVE_KEY,), active=True,
                 algorithm=enums.CryptographicAlgorithm.AES):
        with self.client() as client:
            made = objects.SymmetricKey(algorithm, bits, key, list(masks), name)
            identifier = client.register(made)
            if active:
                client.activate(identifier)
            return identifier


def options(certificates, *servers):
    """For coffer create."""
    words = ["--provider", "kmip", "--no-recovery", "--kmip-ca", certificates.path("ca.pem"), "--kmip-certificate",
             certificates.path("client.pem"), "--kmip-key", certificates.path("client.key")]
    for server in servers:
        words += ["--kmip-server", server if isinstance(server, str) else server.address]
    return words
