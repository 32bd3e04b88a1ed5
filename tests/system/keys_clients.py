"""Clients that write, flush and read the disk "disk" while keys change, and know what it must hold."""
import random
import threading

import nbd

from coffer import BLOCK, MIB, connect


class Client(threading.Thread):
    """Owns every CLIENTS-th block; whatever it wrote it reads again."""
    CLIENTS = 3

    def __init__(self, pool, size, index, ends, held=None):
        super().__init__()
        self.pool, self.size, self.index, self.ends = pool, size, index, ends
        self.held, self.failed, self.requests = dict(held or {}), None, 0
        self.random = random.Random(index)

    def run(self):
        try:
            handle = connect(self.pool, "disk")
            while not self.ends.is_set():
                self.step(handle)
            handle.flush()
        except (nbd.Error, AssertionError) as error:
            self.failed = error

    def step(self, handle):
        block = self.random.randrange(self.size // BLOCK // self.CLIENTS) * self.CLIENTS + self.index
        if block in self.held and self.random.random() < 0.4:
            assert bytes(handle.pread(BLOCK, block * BLOCK)) == self.held[block], f"block {block} is another"
        else:
            self.held[block] = self.random.randbytes(BLOCK)
            handle.pwrite(self.held[block], block * BLOCK)
        if self.random.random() < 0.05:
            handle.flush()
        self.requests += 1


def run_beside(pool, size, before, change):
    """What `change` answers while clients are at work, who go on with what those of before wrote; and the clients."""
    ends = threading.Event()
    clients = [Client(pool, size, index, ends, before[index].held if before else None) for index in range(Client.CLIENTS)]
    for client in clients:
        client.start()
    try:
        answer = change()
    finally:
        ends.set()
        for client in clients:
            client.join()
    for client in clients:
        assert client.failed is None, client.failed
        assert client.requests > 0
    return answer, clients


def compare(pool, clients):
    handle = connect(pool, "disk")
    disk = b"".join(bytes(handle.pread(MIB, offset)) for offset in range(0, clients[0].size, MIB))
    for client in clients:
        for block, content in client.held.items():
            assert disk[block * BLOCK:(block + 1) * BLOCK] == content, f"block {block} is another"
