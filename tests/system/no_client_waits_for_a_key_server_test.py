#!/usr/bin/python3
"""While clients write, flush and read, the key server dies, stands still, or takes seconds for each answer: none of them sees
an error, and all go on while a command, or the daemon itself, waits for the server. No time is measured: what counts is that so
many requests are answered while somebody still waits.
"""
import json
import os
import re
import socket
import subprocess
import threading
import time

from coffer import COFFER, MIB, PATIENCE
from keys_clients import Client, compare
from kmip_servers import KmipPool

DISK = 32 * MIB
MEANWHILE = 100  # requests of each client, one after the other
DELAY = 2  # seconds before each answer of the slow one


def command_begin(pool, *words):
    return subprocess.Popen([COFFER, "-C", pool.directory, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=pool.environment)


def clients_go_on(clients):
    """Each gets its answers; returns once all had so many."""
    wanted = [client.requests + MEANWHILE for client in clients]
    deadline = time.monotonic() + PATIENCE
    while any(client.requests < count for client, count in zip(clients, wanted)):
        assert all(client.failed is None for client in clients), [client.failed for client in clients]
        assert time.monotonic() < deadline, "clients wait for the key server"
        time.sleep(0.01)


def clients_go_on_beside(clients, command):
    """While it waits, from beginning to end."""
    assert command.poll() is None, command.communicate()
    clients_go_on(clients)
    assert command.poll() is None, "it was over before the clients had their answers"


def look(pool):
    """The daemon asks the servers at once, which it would do within half a minute."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(os.path.join(pool.directory, "control.sock"))
        control.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "pool.unlock"}\n')
        assert b"is open already" in control.recv(65536)


def ready_is(pool, severity):
    return lambda: pool.health()["UNLOCK_READY"]["severity"] == severity


def while_it_is_dead(pool, server, clients):
    server.stop()
    assert server.address in pool.refused("key", "rekey", "--shallow")
    look(pool)
    pool.until(ready_is(pool, "error"))
    clients_go_on(clients)
    server.start()
    look(pool)
    pool.until(ready_is(pool, "ok"))


def while_it_stands_still(pool, server, clients):
    before = pool.json("key", "status")["kek_number"]
    server.stand_still()
    look(pool)  # the daemon waits, too
    command = command_begin(pool, "--json", "key", "rekey", "--shallow")
    clients_go_on_beside(clients, command)
    pool.status()
    server.go_on()
    said, error = command.communicate(timeout=PATIENCE)
    assert json.loads(said)["kek_number"] == before + 1, error
    clients_go_on(clients)


def while_it_is_slow(pool, server, clients):
    server.stop()
    server.delay = DELAY
    server.start()
    look(pool)
    command = command_begin(pool, "key", "provider", "test")  # five answers, each late
    clients_go_on_beside(clients, command)
    _, error = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, error
    clients_go_on(clients)


def main():
    pool = KmipPool()
    server = pool.server().start()
    pool.create(server)
    with open(pool.conf) as file:
        text = file.read()
    with open(pool.conf, "w") as file:
        file.write(re.sub("^#timeout = .*$", "timeout = 60s", text, flags=re.MULTILINE))
    pool.start()
    pool.create_object("disk", DISK)
    ends = threading.Event()
    clients = [Client(pool, DISK, index, ends) for index in range(Client.CLIENTS)]
    for client in clients:
        client.start()
    try:
        clients_go_on(clients)
        while_it_is_dead(pool, server, clients)
        while_it_stands_still(pool, server, clients)
        while_it_is_slow(pool, server, clients)
    finally:
        ends.set()
        for client in clients:
            client.join()
    assert all(client.failed is None for client in clients), [client.failed for client in clients]
    compare(pool, clients)
    pool.stop()
    pool.check()


if __name__ == "__main__":
    main()
