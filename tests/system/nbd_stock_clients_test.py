#!/usr/bin/python3
"""Stock NBD clients (libnbd's tools, qemu's, libnbd itself) against the NBD server on an engine in memory.

    nbd_stock_clients_test.py PATH-OF-nbd_fake_server
"""
import os
import random
import subprocess
import sys
import tempfile
import time
import unittest

import nbd

SERVER = os.path.abspath(sys.argv.pop(1))
MIB = 1 << 20


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


class StockClients(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.directory.name, "nbd.sock")
        self.server = subprocess.Popen([SERVER, "unix:" + self.socket, "disk=64", "other=1"])
        while not os.path.exists(self.socket):
            time.sleep(0.01)

    def tearDown(self):
        self.server.terminate()
        self.assertEqual(self.server.wait(30), 0)
        self.assertFalse(os.path.exists(self.socket), "the socket's file is left behind")
        self.directory.cleanup()

    def uri(self, name="disk"):
        return f"nbd+unix:///{name}?socket={self.socket}"

    def client(self, name="disk"):
        handle = nbd.NBD()
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        handle.connect_uri(self.uri(name))
        return handle

    def image(self, size):
        path = os.path.join(self.directory.name, "image")
        with open(path, "wb") as file:
            for offset in range(0, size, MIB):
                file.write(random.randbytes(MIB) if offset // MIB % 3 else bytes(MIB))
        return path

    def test_illegal_requests_get_errors_and_the_connection_lives(self):
        handle = self.client()
        handle.set_strict_mode(0)
        size = handle.get_size()
        bad = [
            (lambda: handle.pread(4096, size), "EINVAL"),
            (lambda: handle.pwrite(bytes(4096), size - 1), "ENOSPC"),
            (lambda: handle.zero(4096, size), "ENOSPC"),
            (lambda: handle.trim(4096, size), "EINVAL"),
            (lambda: handle.cache(4096, size), "EINVAL"),
            (lambda: handle.block_status(4096, size, lambda *_: 0), "EINVAL"),
            (lambda: handle.pread(0, 0), "EINVAL"),
            (lambda: handle.pwrite(b"", 0), "EINVAL"),
            (lambda: handle.trim(0, 0), "EINVAL"),
            (lambda: handle.zero(0, 0), "EINVAL"),
            (lambda: handle.trim(4096, 0, nbd.CMD_FLAG_FAST_ZERO), "EINVAL"),
            (lambda: handle.zero(4096, 0, nbd.CMD_FLAG_DF), "EINVAL"),
            (lambda: handle.pread(4096, 0, nbd.CMD_FLAG_NO_HOLE), "EINVAL"),
        ]
        for request, name in bad:
            with self.assertRaises(nbd.Error) as caught:
                request()
            self.assertEqual(caught.exception.errno, name)
        handle.pwrite(b"x" * 512, 0)
        self.assertEqual(bytes(handle.pread(512, 0)), b"x" * 512)
        handle.shutdown()

    def test_an_unknown_export_is_refused_with_a_sentence(self):
        result = subprocess.run(["nbdinfo", self.uri("nothing")], capture_output=True, text=True)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("No such", result.stderr)

    def test_nbdinfo_lists_exports_and_maps_them(self):
        listing = run("nbdinfo", "--list", f"nbd+unix:///?socket={self.socket}")
        self.assertIn('export="disk"', listing)
        self.assertIn('export="other"', listing)
        self.assertEqual(run("nbdinfo", "--size", self.uri()).strip(), str(64 * MIB))
        self.assertEqual(run("nbdinfo", "--map", self.uri("other")).split(), ["0", str(MIB), "3", "hole,zero"])
        for what in ("flush", "fua", "trim", "zero", "fast-zero", "df", "multi-conn", "cache"):
            subprocess.run(["nbdinfo", "--can", what, self.uri()], check=True)
        self.assertNotEqual(subprocess.run(["nbdinfo", "--is", "read-only", self.uri()]).returncode, 0)

    def test_nbdcopy_brings_back_what_it_brought(self):
        image = self.image(64 * MIB)
        back = os.path.join(self.directory.name, "back")
        run("nbdcopy", "--flush", image, self.uri())
        run("nbdcopy", "--connections=4", "--requests=64", self.uri(), back)
        run("cmp", image, back)
        self.assertIn("hole,zero", run("nbdinfo", "--map", self.uri()))

    def test_nbdcopy_by_single_large_requests(self):
        image = self.image(64 * MIB)
        back = os.path.join(self.directory.name, "back")
        run("nbdcopy", "--request-size=33554432", image, self.uri())
        run("nbdcopy", "--request-size=33554432", "--sparse=0", self.uri(), back)
        run("cmp", image, back)

    def test_qemu_io_reads_writes_zeroes_and_discards(self):
        output = run("qemu-io", "-f", "raw", "-c", "write -P 0xab 1000 70000", "-c", "read -P 0xab 1000 70000",
                     "-c", "write -z 4096 8192", "-c", "read -P 0 4096 8192", "-c", "read -P 0xab 1000 3096",
                     "-c", "discard 16384 16384", "-c", "read -P 0 16384 16384", "-c", "write -f -P 1 0 512",
                     "-c", "flush", self.uri())
        self.assertNotIn("failed", output)

    def test_qemu_img_compares_equal_after_convert(self):
        image = self.image(64 * MIB)
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8", image, self.uri())
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, self.uri())

    def test_flush_on_one_connection_covers_another(self):
        handles = [self.client() for _ in range(4)]
        for index, handle in enumerate(handles):
            handle.pwrite(bytes([index + 1]) * 4096, index * 4096)
        handles[0].flush()
        for index in range(4):
            self.assertEqual(bytes(handles[3 - index].pread(4096, index * 4096)), bytes([index + 1]) * 4096)
        for handle in handles:
            handle.shutdown()

    def test_random_requests_in_flight_agree_with_a_model(self):
        handle = self.client()
        size, model, rng = 4 * MIB, bytearray(4 * MIB), random.Random(1)
        for _ in range(40):
            used, pending = [], []
            for _ in range(24):
                length = rng.choice([1, 512, 4096, 5000, 65536, 300000, 2 * MIB])
                offset = rng.randrange(size - length)
                if any(offset < end and start < offset + length for start, end in used):
                    continue
                used.append((offset, offset + length))
                kind = rng.randrange(4)
                if kind == 0:
                    handle.aio_zero(length, offset)
                    model[offset:offset + length] = bytes(length)
                elif kind == 1:
                    buffer = nbd.Buffer(length)
                    handle.aio_pread(buffer, offset)
                    pending.append((buffer, bytes(model[offset:offset + length])))
                else:
                    data = bytearray(rng.randbytes(length))
                    model[offset:offset + length] = data
                    pending.append((nbd.Buffer.from_bytearray(data), None))
                    handle.aio_pwrite(pending[-1][0], offset, flags=nbd.CMD_FLAG_FUA if rng.random() < 0.1 else 0)
            while handle.aio_in_flight():
                handle.poll(-1)
            for buffer, wanted in pending:
                if wanted is not None:
                    self.assertEqual(bytes(buffer.to_bytearray()), wanted)
        self.assertEqual(bytes(handle.pread(size, 0)), bytes(model))
        handle.shutdown()

    def test_one_client_is_served_on_standard_input(self):
        handle = nbd.NBD()
        handle.set_export_name("only")
        handle.connect_command([SERVER, "stdio", "only=1"])
        handle.pwrite(b"y" * 4096, 4096)
        self.assertEqual(bytes(handle.pread(4096, 4096)), b"y" * 4096)
        handle.shutdown()


if __name__ == "__main__":
    os.environ["PATH"] = "/usr/bin:" + os.environ["PATH"]
    unittest.main()
