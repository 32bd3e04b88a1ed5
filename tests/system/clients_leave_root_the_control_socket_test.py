#!/usr/bin/python3
"""However few descriptors the daemon was started with, NBD clients do not take those that a command needs: the daemon takes as many
as it may have, and where those are not enough for all connections, it serves fewer and says so.
"""
import os
import subprocess

import nbd

import coffer
from coffer import COFFER, MIB, Pool, connect

CLIENTS = 250
FEW = 256  # descriptors
ANSWER_SECONDS = 20


class ByFew(Pool):
    def start_by_few(self, limit):
        """Below the soft limit, as the shell calls it, or below both."""
        script = os.path.join(self.base, "cofferd")
        with open(script, "w") as file:
            file.write(f"#!/bin/sh\nulimit {limit} {FEW} || exit 1\nexec '{coffer.COFFERD}' \"$@\"\n")
        os.chmod(script, 0o755)
        daemon, coffer.COFFERD = coffer.COFFERD, script
        try:
            return self.start()
        finally:
            coffer.COFFERD = daemon

    def crowd(self):
        """As many clients as are let in."""
        handles = []
        try:
            while len(handles) < CLIENTS:
                handles.append(connect(self, "disk"))
        except nbd.Error:
            pass
        return handles

    def status_while_they_are_there(self):
        handles = self.crowd()
        result = subprocess.run([COFFER, "-C", self.directory, "status"], capture_output=True, text=True,
                                env=self.environment, timeout=ANSWER_SECONDS)
        assert result.returncode == 0, result.stderr
        for handle in handles:
            handle.shutdown()
        return len(handles)


def main():
    pool = ByFew("256M")
    pool.start_by_few("-S -n")
    pool.create_object("disk", MIB)
    assert pool.status_while_they_are_there() == CLIENTS
    pool.stop()
    pool.start_by_few("-n")
    served = pool.status_while_they_are_there()
    assert 0 < served < CLIENTS, served
    said = pool.last_messages()
    assert f"at most {served} NBD connections" in said and "LimitNOFILE" in said, said
    pool.stop()


main()
