#!/usr/bin/python3
"""cofferd serves one client on standard input and others on a socket. The first leaves, the others stay: it goes on for them, and a
signal ends it all the same.
"""
import socket
import subprocess

import nbd

from coffer import COFFERD, MIB, PATIENCE, Pool, connect


class OnStandardInput(Pool):
    def launch(self, *options):
        ours, its = socket.socketpair()
        with open(self.messages, "a") as log:
            self.daemon = subprocess.Popen([COFFERD, self.directory, "--nbd", "stdio", "--nbd", "unix:" + self.socket, *options],
                                           stdin=its, stdout=log, stderr=log, env=self.environment)
        its.close()
        self.first = ours

    def first_client(self):
        handle = nbd.NBD()
        handle.set_export_name("disk")
        handle.connect_socket(self.first.detach())
        return handle


def main():
    pool = OnStandardInput("256M")
    pool.start()
    pool.create_object("disk", MIB)
    first, other = pool.first_client(), connect(pool, "disk")
    first.pwrite(b"1" * 4096, 0)
    first.shutdown()
    del first
    for _ in range(20):  # it goes on for the other
        assert bytes(other.pread(4096, 0)) == b"1" * 4096
        assert pool.daemon.poll() is None
    pool.stop()

    pool.start()
    first, other = pool.first_client(), connect(pool, "disk")
    first.shutdown()
    other.shutdown()
    assert pool.daemon.wait(PATIENCE) == 0  # the last one has left
    pool.check()


main()
