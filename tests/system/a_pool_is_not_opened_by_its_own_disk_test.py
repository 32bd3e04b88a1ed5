#!/usr/bin/python3
"""A key server's disk is refused in the pool that it opens, on both sides and with the words of a refusal; an NBD client at the
address of a key server is told by health, and so is a tag that came to be all the same."""
import os
import re
import socket

import nbd

from kmip_servers import KmipPool, options


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def insecure(pool):
    with open(pool.conf) as file:
        text = file.read()
    text = re.sub(r"(?m)^#?insecure = .*$", "insecure = yes", text)
    with open(pool.conf, "w") as file:
        file.write(text)


def main():
    pool = KmipPool()
    server = pool.server().start()
    pool.create(server)
    insecure(pool)
    port = free_port()
    pool.start("--nbd", "unix:" + pool.socket, "--nbd", f"tcp:127.0.0.1:{port}")
    said = pool.refused("object", "create", "vm", "--size", "64M", "--hosts", "kms:kmip", status=3)
    assert "after a power loss" in said and "key provider kmip" in said, said
    pool.refused("object", "show", "vm")
    assert pool.health()["KMS_ON_POOL"]["severity"] == "ok", pool.health()["KMS_ON_POOL"]
    pool.create_object("plain", 1 << 26)
    said = pool.json("object", "set", "plain", "--hosts", "kms:kmpi")["note"]
    assert said.endswith("not in force: none"), said  # kmip would be refused
    pool.coffer("object", "set", "plain", "--hosts", "none")

    # A client over TCP that has the address of the key server, whatever its port.
    client = nbd.NBD()
    client.connect_uri(f"nbd://127.0.0.1:{port}/plain")
    found = pool.health()["KMS_ON_POOL"]
    assert found["severity"] == "error" and server.address in found["evidence"], found
    assert "key provider add" in found["command"], found
    client.shutdown()

    # Another provider comes into force, then the disk gets its tag, then the way back is refused.
    pool.coffer("key", "provider", "add", "file", "--type", "native", "--seal", "file", "--path",
                os.path.join(pool.base, "file.key"))
    pool.coffer("key", "provider", "use", "file")
    said = pool.coffer("object", "create", "vm", "--size", "64M", "--hosts", "kms:kmip")
    assert "the disk of key provider kmip" in said and "Note" not in said, said
    said = pool.coffer("object", "set", "plain", "--hosts", "kms:kmpi")
    assert "kmpi is in coffer.conf yet; key servers that are not in force: kmip; did you mean 'kms:kmip'?" in said, said
    said = pool.json("object", "set", "plain", "--hosts", "kms:fil")["note"]
    assert said.endswith(": kmip"), said  # file is no key server
    assert "or none" in pool.refused("object", "set", "plain", "--hosts", "off")
    assert "note" not in pool.json("object", "set", "plain", "--hosts", "none")
    said = pool.coffer("object", "create", "typo", "--size", "64M", "--hosts", "kms:x")
    assert "the disk of key provider x" in said and "not in force: kmip." in said, said
    pool.coffer("object", "delete", "typo", "--now")
    assert pool.json("object", "show", "vm", "--no-usage")["hosts"] == "kms:kmip"
    assert [row["hosts"] for row in pool.json("object", "list")] == ["", "kms:kmip"]
    assert "kms:kmip" in pool.coffer("object", "show", "vm", "--no-usage")
    said = pool.refused("key", "provider", "use", "kmip", "--no-recovery", status=3)
    assert "'vm'" in said and "--accept-cycle" in said, said
    assert pool.json("key", "status")["provider"] == "file"
    assert pool.health()["KMS_ON_POOL"]["severity"] == "ok", pool.health()["KMS_ON_POOL"]
    pool.coffer("key", "provider", "use", "kmip", "--no-recovery", "--accept-cycle")
    found = pool.health()["KMS_ON_POOL"]
    assert found["severity"] == "error" and "'vm' is the disk" in found["evidence"], found
    assert found["command"].endswith("key provider use file"), found
    pool.coffer("object", "set", "vm", "--hosts", "none")
    assert pool.health()["KMS_ON_POOL"]["severity"] == "ok", pool.health()["KMS_ON_POOL"]
    pool.stop()


if __name__ == "__main__":
    main()
