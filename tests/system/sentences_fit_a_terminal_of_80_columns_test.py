#!/usr/bin/python3
"""On a terminal the evidence of health and what create says are broken between words, so that 80 columns hold them; in
a pipe each stays one line. What health says of a locked pool is true of it.
"""
import fcntl
import os
import pty
import struct
import subprocess
import termios

from coffer import COFFER, Pool

COLUMNS = 80


def on_a_terminal(pool, *words):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    child = subprocess.Popen([COFFER, *words], stdout=follower, stderr=follower, env=pool.environment)
    os.close(follower)
    data = b""
    try:
        while piece := os.read(leader, 4096):
            data += piece
    except OSError:  # the terminal has nobody at its other end any more
        pass
    os.close(leader)
    assert child.wait() == 0, data
    return data.decode().replace("\r\n", "\n")


def too_wide(text, *but):
    return [line for line in text.splitlines() if len(line) > COLUMNS and not line.lstrip().startswith(but)]


def main():
    pool = Pool("512M").start()
    health = on_a_terminal(pool, "-C", pool.directory, "health")
    table, remedies = health.split("What helps")
    assert "KEY_BESIDE_DATA" in table and not too_wide(table), too_wide(table)
    assert " ".join(table.split()).count("who has that disk has both") == 1, table
    piped = pool.coffer("health")
    assert any("native.key lies on" in line and "has both" in line for line in piped.splitlines()), piped
    made = on_a_terminal(pool, "create", os.path.join(pool.base, "x"), "--dry-run")
    assert "Not protected against" in made and not too_wide(made, "Could make"), too_wide(made)

    pool.coffer("lock")
    locked = pool.health()
    assert locked["KEY_BESIDE_DATA"]["severity"] == "warning", locked["KEY_BESIDE_DATA"]
    assert "0 devices" not in locked["NO_COPIES"]["evidence"], locked["NO_COPIES"]
    pool.stop()


if __name__ == "__main__":
    main()
