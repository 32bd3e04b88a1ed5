#!/usr/bin/python3
"""A pool directory belongs to another user. Whatever root did there, made it, served it, was killed, checked it, that
user's daemon starts afterwards, and every file is that user's. The key is that user's too: root does not take it, and
says what to type, after which nothing is different for that user.
"""
import os
import shutil
import subprocess
import time

from coffer import COFFER, COFFERD, MIB, PATIENCE, Pool, connect, skip

SOMEBODY = 54321


def give(path):
    os.chown(path, SOMEBODY, SOMEBODY)


def made_by_root():
    pool = Pool(create=False)
    os.chmod(pool.base, 0o755)
    os.mkdir(pool.directory)
    give(pool.directory)
    give(pool.environment["COFFER_RUN"])
    pool.run(COFFER, "create", pool.directory, "--size", "512M")
    return pool


def check_owners(pool):
    for folder, _, names in os.walk(pool.directory):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            assert status.st_uid == SOMEBODY and status.st_gid == SOMEBODY, f"{name} belongs to {status.st_uid}"
            assert status.st_mode & 0o777 == 0o600, f"{name} has mode {status.st_mode:o}"


def start_as_somebody(pool):
    """The programs are copied: where they were built may be closed to others."""
    program = os.path.join(pool.base, "cofferd")
    shutil.copy(COFFERD, program)
    log = open(pool.messages, "a")
    pool.daemon = subprocess.Popen([program, pool.directory], stdout=log, stderr=log, env=pool.environment,
                                   user=SOMEBODY, group=SOMEBODY, extra_groups=[])
    log.close()
    deadline = time.monotonic() + PATIENCE
    while not pool.answers():
        assert pool.daemon.poll() is None, "cofferd ended: " + pool.last_messages()
        assert time.monotonic() < deadline, "cofferd does not answer: " + pool.last_messages()
        time.sleep(0.01)


def why_root_stays_locked(pool):
    pool.start()
    why = pool.status()["why_locked"]
    assert pool.status()["locked"]
    pool.stop()
    return why


def root_is_sent_to_the_owner(pool):
    """No advice that would take the key from its owner: what is printed is that user's own call."""
    for said, call in ((why_root_stays_locked(pool), f"{COFFERD} {pool.directory}"),
                       (pool.refused("check", status=3), f"{COFFER} -C {pool.directory} check")):
        said = " ".join(said.split())
        assert "chown" not in said and f"`sudo -u '#{SOMEBODY}' {call}`" in said, said
    check_owners(pool)
    copy = os.path.join(pool.base, "coffer")
    shutil.copy(COFFER, copy)
    subprocess.run([copy, "-C", pool.directory, "check"], check=True, user=SOMEBODY, group=SOMEBODY, extra_groups=[],
                   env=pool.environment, stdout=subprocess.DEVNULL, timeout=PATIENCE)


def main():
    if os.geteuid() != 0:
        skip("needs root")
    pool = made_by_root()
    check_owners(pool)
    start_as_somebody(pool)
    pool.create_object("disk", 64 * MIB)
    pool.stop()
    root_is_sent_to_the_owner(pool)
    start_as_somebody(pool)
    pool.stop()
    key = next(path for path in pool.files() if path.endswith(".key"))
    theirs = os.path.join(pool.base, "theirs")
    os.rename(key, theirs)
    shutil.copy(theirs, key)  # a key of root's own, for the time that root serves the pool
    os.chmod(key, 0o600)
    pool.start()
    handle = connect(pool, "disk")
    handle.pwrite(b"x" * MIB, 0)
    handle.shutdown()
    pool.kill()  # its sockets stay
    pool.check()
    os.rename(theirs, key)
    check_owners(pool)
    start_as_somebody(pool)
    handle = connect(pool, "disk")
    handle.pread(4096, 0)
    handle.shutdown()
    pool.stop()


if __name__ == "__main__":
    main()
