#!/usr/bin/python3
"""Where systemd hands over the socket for NBD, nothing is served at the conf's address: coffer asks the daemon where it is."""
import os
import socket
import subprocess

from coffer import COFFERD, MIB, Pool


class Activated(Pool):
    def launch(self, *options):
        """As systemd starts it: the socket is descriptor 3, and the number of the process is in its environment."""
        self.handed = os.path.join(self.base, "handed over.sock")
        with socket.socket(socket.AF_UNIX) as listener, open(self.messages, "a") as log:
            listener.bind(self.handed)
            listener.listen()
            number = listener.fileno()
            self.daemon = subprocess.Popen(
                ["sh", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&{number}', COFFERD, self.directory, *options],
                stdout=log, stderr=log, env=self.environment, pass_fds=[number])

    @property
    def socket(self):
        return self.handed


def main():
    pool = Activated()
    pool.start()
    pool.create_object("disk", 8 * MIB)
    assert not os.path.exists(os.path.join(pool.directory, "nbd.sock"))
    assert pool.status()["nbd"] == ["unix:" + pool.handed]
    assert "handed%20over.sock" in pool.coffer("object", "uri", "disk")
    assert f"socket='{pool.handed}'" in pool.coffer("object", "uri", "disk", "--for", "libvirt")
    stream = os.path.join(pool.base, "stream")
    pool.coffer("object", "snapshot", "disk", "--name", "first")
    pool.coffer("object", "export", "disk@first", "--output", stream)
    pool.coffer("object", "import", stream, "again", "--snapshot", "first")
    pool.stop()


if __name__ == "__main__":
    main()
