#!/usr/bin/python3
"""A KMIP server, certificate or key that is not the right one opens nothing, each with its own sentence; the right one does
once it is back."""
import os
import shutil
import socket
import ssl
import struct
import threading
import time
import unittest
import zlib

from kmip.core import enums

from kmip_servers import Certificates, KmipPool, Server, options

MASKS = enums.CryptographicUsageMask
EPOCH, KEK_NUMBER = 128, 232  # of a superblock


class OldServer:
    """Of one version of TLS, and of nothing behind it."""

    def __init__(self, certificates, version):
        self.context = self.spoken(ssl.PROTOCOL_TLS_SERVER, version)
        self.context.load_cert_chain(certificates.path("server.pem"), certificates.path("server.key"))
        self.certificates, self.version, self.agreed = certificates, version, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def spoken(self, side, version):
        context = ssl.SSLContext(side)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        return context

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                try:
                    with self.context.wrap_socket(client, server_side=True):
                        self.agreed += 1
                except OSError:
                    pass
        except OSError:
            pass  # it was closed

    def answers_who_takes_it(self):
        context = self.spoken(ssl.PROTOCOL_TLS_CLIENT, self.version)
        context.load_verify_locations(self.certificates.path("ca.pem"))
        with socket.create_connection(self.listener.getsockname()) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                assert secured.version() is not None
        while self.agreed == 0:
            time.sleep(0.01)


class WrongKeyServers(unittest.TestCase):
    def made(self):
        pool = KmipPool()
        server = pool.server().start()
        pool.create(server).start()
        pool.fill()
        pool.stop()
        return pool, server

    def comes_back(self, pool):
        pool.until(lambda: not pool.status()["locked"])
        pool.serves()
        pool.stop()

    def test_certificates_that_do_not_fit(self):
        pool, server = self.made()
        other = Certificates(os.path.join(pool.base, "others"))
        own = pool.certificates
        for key, value, words in (
                ("ca", other.path("ca.pem"), ("certificate is refused",)),  # of the server
                ("certificate", other.path("client.pem"), ("is not the key of the certificate", own.path("client.key"))),
                ("certificate", own.path("nowhere.pem"), ("nowhere.pem",)),
                ("key", own.path("ca.pem"), ("ca.pem",)),
                ("ca", own.path("client.key"), ("client.key",))):
            with open(pool.conf) as file:
                before = file.read()
            pool.conf_change(key, value)
            pool.start_locked(*words)
            pool.stop()
            with open(pool.conf, "w") as file:
                file.write(before)
        for name in ("client.pem", "client.key"):  # of a CA that the server does not know
            shutil.copy(own.path(name), own.path(name + ".own"))
            shutil.copy(other.path(name), own.path(name))
        pool.start_locked(server.address, "TLS")
        for name in ("client.pem", "client.key"):
            os.replace(own.path(name + ".own"), own.path(name))
        self.comes_back(pool)
        os.chmod(own.path("client.key"), 0o644)
        pool.start_locked("chmod go= " + own.path("client.key"))
        health = pool.health()["WIDE_MODES"]
        self.assertEqual(health["severity"], "error")
        os.chmod(own.path("client.key"), 0o600)
        self.comes_back(pool)

    def test_a_server_whose_certificate_names_another_host(self):
        pool, server = self.made()
        server.stop()
        own = pool.certificates
        shutil.copy(own.path("server.pem"), own.path("right.pem"))
        shutil.copy(own.path("server.key"), own.path("right.key"))
        own.sign("server", "127.0.0.1", "subjectAltName=DNS:kms.example,IP:127.0.0.2\nextendedKeyUsage=serverAuth\n")
        server.start()
        pool.start_locked(server.address, "certificate is refused", "IP address mismatch")
        server.stop()
        os.replace(own.path("right.pem"), own.path("server.pem"))
        os.replace(own.path("right.key"), own.path("server.key"))
        server.start()
        self.comes_back(pool)
        server.stop()
        own.sign("server", "127.0.0.1", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")  # renewed
        server.start()
        pool.start()
        self.comes_back(pool)
        self.old_versions_of_tls_are_refused(pool)
        pool.conf_change("servers", f"localhost:{server.port}")  # the same server, by a name that it does not have
        pool.start_locked("certificate is refused", "ostname mismatch")
        pool.stop()

    def old_versions_of_tls_are_refused(self, pool):
        right = pool.conf_text()
        for version, taken in (ssl.TLSVersion.TLSv1, False), (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True):
            stub = OldServer(pool.certificates, version)
            stub.answers_who_takes_it()
            pool.conf_change("servers", stub.address)
            pool.start_locked(stub.address, "" if taken else "TLS")
            pool.stop()
            self.assertEqual(stub.agreed > 1, taken, version)
            stub.listener.close()
            with open(pool.conf, "w") as file:
                file.write(right)

    def test_a_client_that_is_not_the_keys_owner(self):
        pool, server = self.made()
        own = pool.certificates
        own.sign("client", "somebody else", "extendedKeyUsage=clientAuth\n")
        pool.start_locked(server.address, pool.key_name)
        own.sign("client", "coffer", "extendedKeyUsage=clientAuth\n")
        self.comes_back(pool)

    def test_keys_that_are_not_what_was_made(self):
        pool, server = self.made()
        name = pool.key_name
        right = server.key(server.ids()[0])
        self.assertEqual(len(right), 32)
        for bad, words in (
                (lambda: None, ("there is no key " + name,)),
                (lambda: server.register(name, bytes(32)), ("all zeros",)),
                (lambda: server.register(name, right[:16], 128), ("not AES with 256 bits",)),
                (lambda: server.register(name, right, masks=(MASKS.ENCRYPT, MASKS.DECRYPT)), ("Derive Key",)),
                (lambda: server.register(name, right[:24], 192, algorithm=enums.CryptographicAlgorithm.TRIPLE_DES),
                 ("not AES",)),
                (lambda: server.register(name, right, active=False), ("is not activated",)),
                (lambda: [server.register(name, right) for _ in range(2)], ("more than one key " + name,)),
                (lambda: server.register(name, bytes(range(32))),
                 ("key 1 of provider kmip is another than the one in force", "does not fit", "wrong passphrase or key"))):
            server.destroy_all()
            bad()
            pool.start_locked(*words)
            pool.stop()
        pool.start_locked()
        server.destroy_all()
        server.register(name, right)
        self.comes_back(pool)
        pool.check()

    def test_a_key_that_is_no_longer_active_opens_and_raises_health(self):
        pool, server = self.made()
        identifier = server.ids()[0]
        server.revoke(identifier)
        pool.start()
        pool.serves()
        health = pool.health()["KEY_STATE"]
        self.assertEqual(health["severity"], "warning")
        self.assertIn("deactivated", health["evidence"])
        self.assertIn("Deactivated", pool.last_messages())
        pool.stop()
        before = self.spoil_a_copy(pool)
        pool.start()
        pool.serves()
        self.assertIn("superblocks are not written anew", pool.last_messages())
        pool.stop()
        self.assertEqual(self.first_copy(pool), before)  # nothing was wrapped with it
        server.revoke(identifier, enums.RevocationReasonCode.KEY_COMPROMISE)
        pool.start()
        pool.serves()
        health = pool.health()["KEY_STATE"]
        self.assertEqual(health["severity"], "error")
        self.assertIn("compromised", health["evidence"])
        pool.stop()

    def test_a_copy_that_states_another_key_hides_no_other_copy(self):
        pool, server = self.made()
        right = self.first_copy(pool)
        self.forge_a_copy(pool)
        pool.start()
        pool.serves()
        self.assertIn("1 of 4 superblock copies are damaged or altered", pool.last_messages())
        pool.stop()
        self.assertEqual(self.first_copy(pool)[KEK_NUMBER:], right[KEK_NUMBER:])  # written anew
        self.forge_a_copy(pool)
        identifier = server.ids()[0]
        server.state_set(identifier, enums.State.DESTROYED)
        pool.start_locked("no server gives the key of " + pool.disk)
        pool.stop()

    def test_a_key_that_came_to_its_end_names_all_devices_that_need_it(self):
        pool = KmipPool()
        server = pool.server().start()
        disks = [os.path.join(pool.base, name) for name in ("first", "second")]
        for disk in disks:
            with open(disk, "wb") as file:
                file.truncate(256 << 20)
        pool.coffer("create", pool.directory, "--group", "g1=" + ",".join(disks), *options(pool.certificates, server))
        pool.start()
        pool.until(lambda: pool.health()["UNLOCK_READY"]["severity"] == "ok")
        identifier = server.ids()[0]
        server.state_set(identifier, enums.State.DESTROYED)
        pool.look()
        pool.until(lambda: pool.health()["UNLOCK_READY"]["severity"] == "error")
        evidence = pool.health()["UNLOCK_READY"]["evidence"]
        self.assertIn(f"the key of {disks[0]}, {disks[1]} is gone", evidence)
        self.assertIn("is Destroyed on the server", evidence)
        pool.stop()
        named = f"no server gives the key of {disks[0]}, {disks[1]}"
        pool.start_locked(named, "is Destroyed on the server")
        pool.stop()
        server.destroy_all()
        pool.start_locked(named, "there is no key " + pool.key_name)
        pool.stop()
        server.stop()
        pool.start_locked("cannot connect")  # who does not answer says nothing of the key
        self.assertNotIn(disks[1], pool.status()["why_locked"])
        pool.stop()

    def test_one_server_does_not_speak_for_another(self):
        pool = KmipPool()
        first, second = pool.server().start(), Server(pool.certificates, os.path.join(pool.base, "other keys")).start()
        pool.coffer("create", pool.directory, "--size", "512M", "--kmip-separate",
                    *options(pool.certificates, first, second))
        first.state_set(first.ids()[0], enums.State.DESTROYED)
        pool.start()
        pool.fill()  # the second was asked
        pool.serves()
        self.assertIn("is Destroyed on the server", pool.last_messages())
        second.stop()
        pool.look()
        pool.until(lambda: pool.health()["UNLOCK_READY"]["severity"] == "error")
        self.assertNotIn("is gone", pool.health()["UNLOCK_READY"]["evidence"])
        pool.stop()
        self.assert_not_gone(pool, "is Destroyed on the server", "cannot connect")
        second.start()
        second.state_set(second.ids()[0], enums.State.PRE_ACTIVE)
        self.assert_not_gone(pool, "is not activated")
        second.state_set(second.ids()[0], enums.State.DESTROYED)
        first.state_set(first.ids()[0], enums.State.PRE_ACTIVE)
        self.assert_not_gone(pool, "is not activated")
        first.destroy_all()
        pool.start_locked("no server gives the key of " + pool.disk, "there is no key", "is Destroyed on the server")
        pool.stop()

    def assert_not_gone(self, pool, *words):
        pool.start_locked(*words)
        self.assertNotIn("no server gives", pool.status()["why_locked"])
        pool.stop()

    def first_copy(self, pool):
        with open(pool.disk, "rb") as disk:
            return disk.read(4096)

    def forge_a_copy(self, pool):
        """As anybody can who has the disk: nothing of it needs a key."""
        fixed = bytearray(self.first_copy(pool))
        struct.pack_into("<Q", fixed, EPOCH, (1 << 24) - 1)
        struct.pack_into("<Q", fixed, KEK_NUMBER, 999999)
        struct.pack_into("<I", fixed, 12, zlib.crc32(fixed[80:], zlib.crc32(bytes(64))))
        with open(pool.disk, "r+b") as disk:
            disk.write(fixed)

    def spoil_a_copy(self, pool):
        with open(pool.disk, "r+b") as disk:
            disk.seek(100)
            disk.write(b"\xff" * 100)
        return self.first_copy(pool)

    def test_creations_that_fail_leave_nothing_anywhere(self):
        pool = KmipPool()
        server = pool.server().start()
        right = options(pool.certificates, server)
        self.assertIn("needs", pool.create_refused(*right[:-2], status=2))
        self.assertIn("kmip", pool.create_refused("--kmip-ca", "x", status=2))
        self.assertIn("--seal", pool.create_refused(*right, "--seal", "file", status=2))
        self.assertIn("HOST", pool.create_refused(*right[:-1], "host:port", status=2))
        self.assertIn("nowhere", pool.create_refused(*right[:6], "/nowhere", *right[7:]))
        dead = Server(pool.certificates, pool.database)
        self.assertIn(dead.address, pool.create_refused(*options(pool.certificates, dead)))
        os.chmod(pool.certificates.path("client.key"), 0o640)
        self.assertIn("client.key", pool.create_refused(*right))
        os.chmod(pool.certificates.path("client.key"), 0o600)
        self.assertEqual(server.ids(), [])
        pool.coffer("create", pool.directory, "--size", "512M", "--dry-run", *right)
        self.assertEqual(server.ids(), [])


if __name__ == "__main__":
    unittest.main()
