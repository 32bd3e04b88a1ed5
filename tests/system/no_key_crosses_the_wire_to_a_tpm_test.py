#!/usr/bin/python3
"""A proxy before the TPM records everything: no byte of the KDK crosses it, neither when it is sealed nor when it is
unsealed, since sessions are salted and encrypt; with a PIN and with PCRs, sealed anew, and with the cached key of a key
server too. It finds the KDK where somebody sends it as it is. What it changes of an answer is not taken, and leaves nothing in the TPM.
"""
import hashlib
import os
import re
import time

from coffer import KIB, PATIENCE, SANITIZED, Pool, run
from key_scan import keys_of
from memory_image import core
from seen import PART
from tpm import (CREATE, DECRYPT, ENCRYPT, LOAD, NULL_ALGORITHM, NULL_HANDLE, SESSIONS, UNSEAL, Proxy, Tpm, session_of,
                 sessions_started)

TPM_PLAIN = os.environ["TPM_PLAIN"]
PIN = "a PIN of many digits: 2580 0852"
HMAC, POLICY = 0, 1  # kinds of sessions, and the low bits of their handles' first byte


def kdk_of(pool, secret=None):
    return next(iter(keys_of(pool, secret)["kdk"]))


def holds(data, key):
    """Any eighth byte on: what was freed has its first bytes overwritten by the heap."""
    return any(key[at:at + PART // 2] in data for at in range(0, len(key), PART // 2))


def crosses(proxy, key):
    return holds(proxy.everything(), key)


def check_sessions(proxy, codes, *unsealed_by):
    """Each command that carries the key, or what wraps it, runs in a session that is salted and encrypts; what is bound to PCRs
    is unsealed in one of their policy."""
    unsealed_by = unsealed_by or (HMAC,)
    commands = proxy.commands()
    started = list(sessions_started(commands))
    assert started, "no session was begun"
    for key, salt, kind, cipher in started:
        assert key != NULL_HANDLE and salt > 64, "a session without salt"
        assert kind in (HMAC, *unsealed_by) and cipher != NULL_ALGORITHM, "a session that does not encrypt"
    seen, kinds = set(), set()
    for code, body, tag in commands:
        if code not in codes:
            continue
        seen.add(code)
        assert tag == SESSIONS
        handle, attributes = session_of(body, 1)
        assert handle >> 24 in (2 + HMAC, 2 + POLICY), f"command {code:#x} runs in {handle:#x}, which is no session"
        if code == UNSEAL:
            kinds.add((handle >> 24) - 2)
        else:
            assert handle >> 24 == 2 + HMAC
        assert attributes & ENCRYPT, f"the answer to {code:#x} is not encrypted"
        assert code == UNSEAL or attributes & DECRYPT, f"command {code:#x} is not encrypted"  # Unseal carries nothing
    assert seen == set(codes), f"of {codes} only {seen} were sent"
    assert UNSEAL not in codes or kinds == set(unsealed_by), f"unsealed in sessions of the kinds {kinds}"


def until_asked(pool):
    """The daemon asks the TPM by itself, behind the start, whether it would open the pool again (with a PIN all but the key)."""
    deadline = time.monotonic() + PATIENCE
    while not re.search("the TPM gave it|PIN was not tried", pool.health()["UNLOCK_READY"]["evidence"]):
        assert time.monotonic() < deadline, pool.health()["UNLOCK_READY"]
        time.sleep(0.02)


def nothing_crossed(proxy, *keys):
    assert len(proxy.everything()) > KIB
    assert not any(crosses(proxy, key) for key in keys), "the key crossed the wire"
    assert proxy.tpm.slots_filled() == 0
    proxy.forget()


def test_sealed_and_unsealed(tpm, proxy):
    pool = Pool(create=False)
    pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--no-copy", "--tcti", proxy.tcti)
    check_sessions(proxy, {CREATE, LOAD, UNSEAL})
    kdk = kdk_of(pool)
    nothing_crossed(proxy, kdk)
    pool.start()
    until_asked(pool)
    check_sessions(proxy, {LOAD, UNSEAL})
    pool.fill()
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
    nothing_crossed(proxy, kdk)
    run(TPM_PLAIN, proxy.tcti, kdk.hex())
    assert crosses(proxy, kdk), "the proxy does not find what was sent as it is"
    tpm.fresh()
    proxy.forget()


def test_with_a_pin_and_with_pcrs(proxy):
    """Sealed anew, too, without the PIN and then without the PCRs, and with another root."""
    digest = hashlib.sha256(b"coffer1/tpm-pin\0" + PIN.encode()).digest()  # what the TPM gets for the PIN
    pool = Pool(create=False)
    pin = pool.secret("pin", PIN)
    pool.coffer("create", pool.directory, "--size", "512M", "--seal", "tpm", "--no-copy", "--tcti", proxy.tcti, "--pcrs", "7",
                "--pin-file", pin)
    check_sessions(proxy, {CREATE, LOAD, UNSEAL}, POLICY)
    keys = [kdk_of(pool, PIN), PIN.encode(), digest]
    nothing_crossed(proxy, *keys)
    pool.start("--passphrase-file", pin)
    until_asked(pool)
    check_sessions(proxy, {LOAD, UNSEAL}, POLICY)
    nothing_crossed(proxy, *keys)
    pool.coffer("key", "tpm", "approve", "--passphrase-file", pin)
    pool.coffer("key", "rekey", "--shallow", "--new-root", "--passphrase-file", pin)
    check_sessions(proxy, {CREATE, LOAD, UNSEAL}, POLICY)
    pool.stop()
    keys.append(kdk_of(pool, PIN))
    assert keys[-1] != keys[0]
    nothing_crossed(proxy, *keys)
    pool.coffer("key", "tpm", "reseal", "--no-pcrs", "--pin-file", pin, "--passphrase-file", pin)
    check_sessions(proxy, {CREATE, LOAD, UNSEAL}, POLICY, HMAC)  # opened by the policy of before, and tried
    nothing_crossed(proxy, *keys)
    pool.start("--passphrase-file", pin)
    until_asked(pool)
    check_sessions(proxy, {LOAD, UNSEAL})
    pool.stop()
    pool.coffer("key", "tpm", "reseal", "--no-pin", "--pcrs", "7", "--passphrase-file", pin)
    nothing_crossed(proxy, *keys)
    pool.start()
    until_asked(pool)
    check_sessions(proxy, {LOAD, UNSEAL}, POLICY)
    pool.stop()
    nothing_crossed(proxy, *keys)


def test_a_key_that_is_cached(proxy):
    try:
        from kmip_servers import KmipPool
    except SystemExit:
        return  # there is no PyKMIP
    pool = KmipPool()
    server = pool.server().start()
    pool.create(server)
    with open(pool.conf) as file:
        text = re.sub("^#tpm-cache = .*$", "tpm-cache = 7d", file.read(), flags=re.MULTILINE)
    with open(pool.conf, "w") as file:
        file.write(re.sub("^#tcti = .*$", f"tcti = {proxy.tcti}", text, flags=re.MULTILINE))
    pool.start()
    pool.fill()
    pool.until(lambda: os.path.exists(os.path.join(pool.directory, "kmip.cache")))
    pool.until(lambda: proxy.tpm.slots_filled() == 0)
    pool.stop()
    kek = server.key(server.ids()[0])
    check_sessions(proxy, {CREATE})
    nothing_crossed(proxy, kek)
    server.stop()
    pool.start()
    assert not pool.status()["locked"]
    check_sessions(proxy, {LOAD, UNSEAL})
    pool.stop()
    nothing_crossed(proxy, kek)


def main():
    tpm = Tpm()
    proxy = Proxy(tpm)
    test_sealed_and_unsealed(tpm, proxy)
    test_with_a_pin_and_with_pcrs(proxy)
    test_a_key_that_is_cached(proxy)


if __name__ == "__main__":
    main()
