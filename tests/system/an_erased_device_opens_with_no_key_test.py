#!/usr/bin/python3
"""`coffer device erase`: not what a pool names or has open, nor what is none of Coffer's; what is left over is told by its ids
first, then opens with no key any more, and the certificate says what else could open an image of it."""
import json
import os
import socket
import subprocess
import uuid

from coffer import COFFER, MIB, Pool, run

Pool.learns = True

REFUSED, USAGE, FAILED = 3, 2, 1


def erase(pool, device, certificate, *more, where=()):
    words = [COFFER, *where, "device", "erase", device, "--certificate", certificate, *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, env=pool.environment)


def refused(answer, status, *said):
    assert answer.returncode == status, answer
    text = " ".join(answer.stderr.split())
    assert all(words in text for words in said), (said, text)


def crowd(pool, numbers):
    """As many pools that run, as far as the list of them and a connection tell; each with a conf of its own. The list may
    be in any order: one that some came before and some after is late in it."""
    conf = open(os.path.join(pool.directory, "coffer.conf")).read().replace(pool.base, "/nonexistent")
    own = next(line.split("=", 1)[1].strip() for line in conf.splitlines() if line.startswith("uuid"))
    members = []
    for i in numbers:
        directory, name = os.path.join(pool.base, f"n{i}"), str(uuid.uuid4())
        os.mkdir(directory)
        with open(os.path.join(directory, "coffer.conf"), "w") as file:
            file.write(conf.replace(own, name))
        member = socket.socket(socket.AF_UNIX)
        member.bind(os.path.join(directory, "control.sock"))
        member.listen(64)
        os.symlink(os.path.join(directory, "control.sock"), os.path.join(pool.environment["COFFER_RUN"], name + ".pool"))
        members.append((member, directory))
    return members


def main():
    pool = Pool(create=False)
    disks = [os.path.join(pool.base, name) for name in ("disk1", "disk2")]
    for disk in disks:
        run("truncate", "--size", "300M", disk)
    pool.coffer("create", pool.directory, "--group", "g1=" + ",".join(disks))
    sure, certificate = "--accept-data-loss", os.path.join(pool.base, "certificate.json")

    members = crowd(pool, range(30))
    pool.start()
    refused(erase(pool, disks[0], certificate, sure), REFUSED, "whose coffer.conf names it")  # of all that run
    pool.coffer("lock")
    refused(erase(pool, disks[0], certificate, sure), REFUSED, "whose coffer.conf names it")
    # An older conf of the same pool, which is named, does not stand for that of the daemon.
    stale = os.path.join(pool.base, "stale")
    os.mkdir(stale)
    conf = open(os.path.join(pool.directory, "coffer.conf")).read()
    ids = next(line for line in conf.splitlines() if line.startswith("device-ids")).split("=", 1)[1].split(",")
    with open(os.path.join(stale, "coffer.conf"), "w") as file:
        file.write(conf.replace(disks[0], "/nonexistent/disk").replace(ids[0].strip(), str(uuid.uuid4())))
    refused(erase(pool, disks[0], certificate, sure, where=("-C", stale)), REFUSED, "whose coffer.conf names it", pool.directory)
    members += crowd(pool, range(30, 60))
    refused(erase(pool, disks[0], certificate, sure), REFUSED, "whose coffer.conf names it", pool.directory)
    pool.stop()
    # One that runs, and does not say what it wants.
    last = os.path.join(members[7][1], "coffer.conf")
    os.rename(last, last + "x")
    refused(erase(pool, disks[0], certificate, sure), REFUSED, "cannot be read", members[7][1])
    os.symlink(os.path.join(members[8][1], "coffer.conf"), last)  # another's
    refused(erase(pool, disks[0], certificate, sure), REFUSED, "cannot be read", members[7][1])
    for member, _ in members:
        member.close()
    link = os.path.join(pool.base, "link")
    os.symlink(disks[0], link)
    copy = os.path.join(pool.base, "copy")  # another path, but the device by its ids
    run("cp", "--sparse=always", disks[0], copy)
    for device in (disks[0], link, copy):
        refused(erase(pool, device, certificate, sure, where=("-C", pool.directory)), REFUSED, pool.directory, "`coffer erase`")
    pool.check()
    assert not os.path.exists(certificate)

    # Left over: no conf that is known here names it.
    with open(os.path.join(pool.directory, "coffer.conf")) as conf:
        values = [line.split("=", 1)[1].strip() for line in conf if line.startswith(("uuid", "device-ids"))]
    pool_id, device = values[0], values[2].split(",")[0].strip()
    refused(erase(pool, disks[0], certificate), REFUSED, device, pool_id, sure)
    other = Pool("300M")
    refused(erase(pool, disks[0], os.path.join(other.directory, "coffer.conf"), sure), FAILED, "exists")
    other.start()
    answer = erase(pool, disks[0], certificate, sure, where=("-C", other.directory))
    assert answer.returncode == 0 and "hold its wrapped keys until" not in answer.stdout, answer
    told = json.load(open(certificate))
    entry = other.json("key", "audit")["list"][-1]  # of a daemon that runs: its number is there at once
    assert entry["operation"] == "device.erase" and entry["offline"] and entry["result"].startswith("ok"), entry
    assert entry["target"] == f"device {device} of another pool" == told["audit"]["target"], (entry, told)
    assert entry["number"] == told["audit"]["number"] and "why_no_audit_number" not in told, (entry, told)
    assert told["audit"]["pool"] == other.status()["uuid"], told
    other.stop()
    assert told["key_slots"] is None and "no key was asked for" in told["why_no_key_slots"], told
    assert os.stat(certificate).st_mode & 0o777 == 0o600
    assert told["device"] == device and told["pool"] == pool_id and told["path"] == disks[0], told
    assert told["read_back"] and told["discarded"] and told["superblock_copies_overwritten"] == 4, told
    lines = " ".join(told["could_open_what_is_left"])
    assert "key number 1 of provider" in lines and "other devices" in lines and "`coffer key backup`" in lines, told
    assert os.stat(disks[0]).st_blocks * 512 < MIB
    with open(disks[0], "rb") as file:
        assert not any(file.read(MIB)), "the head"
        file.seek(-MIB, os.SEEK_END)
        assert not any(file.read()), "the tail"
    said = pool.start_refused()
    assert "carries no Coffer superblock" in said, said

    # Cut short: here before its certificate, whose name is too long. Another run ends it.
    answer = erase(pool, disks[1], os.path.join(pool.base, "x" * 300), sure, where=("-C", other.directory))
    assert answer.returncode == USAGE and "keep what is printed" in " ".join(answer.stderr.split()), answer
    assert "run this again with another --certificate" in " ".join(answer.stderr.split()), answer
    begun = json.loads(answer.stdout)["begun"]
    left = b"what was not discarded"
    with open(disks[1], "r+b") as file:
        file.seek(100 * MIB)
        file.write(left)
    refused(erase(pool, disks[1], certificate + "2"), REFUSED, f"its erase was begun on {begun}", "has no certificate yet",
            pool_id, sure)
    refused(erase(pool, disks[1], certificate + "2", sure, where=("-C", pool.directory)), REFUSED, "whose coffer.conf names it")
    with open(disks[1], "rb") as file:
        file.seek(100 * MIB)
        assert file.read(len(left)) == left
    answer = erase(pool, disks[1], certificate + "2", sure, where=("-C", other.directory))
    assert answer.returncode == 0, answer
    second = json.load(open(certificate + "2"))
    assert second["audit"]["number"] is None and "`coffer key audit`" in second["why_no_audit_number"], second
    other.start()
    assert [entry["operation"] for entry in other.json("key", "audit")["list"]].count("device.erase") == 3
    other.stop()
    assert second["finished_in_a_later_run"] and not told["finished_in_a_later_run"], (second, told)
    assert second["pool"] == pool_id and second["begun_by_the_note"] <= second["begun"] <= second["time"] and "note of its erase" in second["found"], second
    assert "key number 1 of provider" in " ".join(second["could_open_what_is_left"]), second
    assert os.stat(disks[1]).st_blocks * 512 < MIB
    assert open(disks[1], "rb").read() == bytes(300 * MIB), "zeros"
    refused(erase(pool, disks[1], certificate + "3", sure), REFUSED, "was it erased before?", "nothing is done")

    os.remove(certificate)
    refused(erase(pool, disks[0], certificate, sure), REFUSED, "was it erased before?", "nothing is done")
    assert not os.path.exists(certificate)

    # What is none of Coffer's is left alone.
    letter = os.path.join(pool.base, "letter")
    with open(letter, "wb") as file:
        file.write(b"dear reader " * MIB)
    before = open(letter, "rb").read()
    refused(erase(pool, letter, certificate, sure), REFUSED, "carries no Coffer superblock", "left alone")
    assert open(letter, "rb").read() == before and not os.path.exists(certificate)
    refused(erase(pool, letter + "x", certificate, sure), FAILED, "there is no")
    refused(erase(pool, os.path.join(letter, "x"), certificate, sure), USAGE, f"look at {letter}/x", "Not a directory")
    other.remove()
    pool.remove()


main()
