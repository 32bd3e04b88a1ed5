#!/usr/bin/python3
"""A proxy before the TPM records everything: no byte of the KDK crosses it, neither when it is sealed nor when it is
unsealed, since sessions are salted and encrypt. It finds the KDK where somebody sends it as it is. What it changes of an
answer is not taken.
"""
import os

from coffer import KIB, MIB, SANITIZED, Pool, connect, run
from key_scan import KEY_DUMP
from memory_image import core
from seen import PART
from tpm import (CREATE, DECRYPT, ENCRYPT, LOAD, NULL_ALGORITHM, NULL_HANDLE, SESSIONS, UNSEAL, Proxy, Tpm, session_of,
                 sessions_started)

TPM_PLAIN = os.environ["TPM_PLAIN"]


def kdk_of(pool):
    lines = dict(line.split() for line in run(KEY_DUMP, pool.directory).splitlines())
    return bytes.fromhex(lines["kdk"])


def holds(data, kdk):
    """Any eighth byte on: what was freed has its first bytes overwritten by the heap."""
    return any(kdk[at:at + PART // 2] in data for at in range(0, len(kdk), PART // 2))


def crosses(proxy, kdk):
    return holds(proxy.everything(), kdk)


def check_sessions(proxy, codes):
    """Each command that carries the key, or what wraps it, runs in a session that is salted and encrypts."""
    commands = proxy.commands()
    started = list(sessions_started(commands))
    assert started, "no session was begun"
    for key, salt, kind, cipher in started:
        assert key != NULL_HANDLE and salt > 64, "a session without salt"
        assert kind == 0 and cipher != NULL_ALGORITHM, "a session that does not encrypt"
    seen = set()
    for code, body, tag in commands:
        if code not in codes:
            continue
        seen.add(code)
        assert tag == SESSIONS
        handle, attributes = session_of(body, 1)
        assert handle >> 24 == 2, f"command {code:#x} runs in {handle:#x}, which is no session of HMAC"
        assert attributes & ENCRYPT, f"the answer to {code:#x} is not encrypted"
        assert code == UNSEAL or attributes & DECRYPT, f"command {code:#x} is not encrypted"  # Unseal carries nothing
    assert seen == set(codes), f"of {codes} only {seen} were sent"


def main():
    tpm = Tpm()
    proxy = Proxy(tpm)
    pool = Pool(create=False)
    pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--no-copy", "--tcti", proxy.tcti)
    kdk = kdk_of(pool)
    check_sessions(proxy, {CREATE, LOAD, UNSEAL})
    assert len(proxy.everything()) > KIB and not crosses(proxy, kdk), "the KDK crossed the wire"
    proxy.forget()
    pool.start()
    check_sessions(proxy, {LOAD, UNSEAL})
    pool.create_object("disk", MIB)
    handle = connect(pool, "disk")
    handle.pwrite(b"here", 0)
    handle.shutdown()
    if not SANITIZED and os.geteuid() == 0:
        assert not holds(core(pool, "unlocked"), kdk), "the library left the KDK behind"
    pool.coffer("lock")
    assert tpm.slots_filled() == 0
    for code in UNSEAL, LOAD:
        proxy.spoilt = code
        said = pool.refused("unlock")
        assert "did not give the answer that came" in said, said
        assert tpm.slots_filled() == 0, "what the false answer was about stays"
    proxy.spoilt = None
    pool.coffer("unlock")
    pool.stop(check_resident=False)
    assert not crosses(proxy, kdk), "the KDK crossed the wire"
    proxy.forget()
    run(TPM_PLAIN, proxy.tcti, kdk.hex())
    assert crosses(proxy, kdk), "the proxy does not find what was sent as it is"


if __name__ == "__main__":
    main()
