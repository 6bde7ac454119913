"""Clients, a process each, that send requests until they are told to end.

A client counts its answers in memory that all share, and writes a line of JSON for each
request that fails: when it began and failed, its own port, since when the connection is
open, and which process had answered on it. Nothing is tried again.
"""

import json
import mmap
import os
import random
import signal
import socket
import struct
import time

# How long a request may take; no torment lasts so long.
PATIENCE = 60
# How long a client leaves a kept connection idle at most; servers promise five seconds.
IDLE = 3
CELL = struct.Struct("<QQ")


class Load:
    """Clients of some services: `plan` has the kind, the address and the pause of each.
    They wait for a byte each from `gate`."""

    def __init__(self, clients, plan, failures, seed, gate):
        self.clients, self.plan, self.failures, self.seed, self.gate = clients, plan, failures, seed, gate
        self.cells = mmap.mmap(-1, CELL.size * len(plan))
        self.pids = [self.fork(number) for number in range(len(plan))]

    def fork(self, number):
        pid = os.fork()
        if pid == 0:
            try:
                Client(self, number).run()
            finally:
                os._exit(0)
        return pid

    def answers(self, service=None):
        """How many requests were answered, and how many failed."""
        wanted = [number for number, row in enumerate(self.plan) if service in (None, row["service"])]
        counts = [CELL.unpack_from(self.cells, number * CELL.size) for number in wanted]
        return [sum(column) for column in zip(*counts)]

    def finish(self):
        """Lets each finish its request, and waits for their ends."""
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        for pid in self.pids:
            os.waitpid(pid, 0)


class Client:
    def __init__(self, load, number):
        self.load, self.number, self.over = load, number, False
        self.service, self.kind, self.address, self.pause, self.most = (
            load.plan[number][key] for key in ("service", "kind", "address", "pause", "most"))
        self.random = random.Random(f"{load.seed} {number}")
        self.stream, self.counts = None, [0, 0]
        self.failures = os.open(load.failures, os.O_WRONLY | os.O_APPEND)

    def run(self):
        # A pause is cut short, a request is not.
        signal.signal(signal.SIGTERM, self.end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ends = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.read(self.load.gate, 1)
        while not self.over:
            self.ask()
            signal.pthread_sigmask(signal.SIG_SETMASK, ends)
            signal.sigtimedwait([signal.SIGUSR1], self.pause)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def end(self, *_):
        self.over = True

    def ask(self):
        begun = time.monotonic()
        if self.stream and begun - self.used > IDLE:
            self.drop()
        try:
            if self.stream is None:
                self.connect(begun)
            keeps = self.kind == "keep"
            self.load.clients.send(self.stream, keeps)
            body, is_kept = self.load.clients.receive(self.stream)
            self.pid, self.used, self.left = int(body.split("pid=")[1]), time.monotonic(), self.left - 1
            self.count(0)
            if not (keeps and is_kept and self.left > 0):
                self.drop()
        except (OSError, ValueError) as error:
            self.note(begun, error)
            self.drop()

    def connect(self, begun):
        self.opened, self.pid, self.port, self.left = begun, None, None, self.random.randint(1, self.most)
        self.stream = socket.socket()
        self.stream.settimeout(PATIENCE)
        self.stream.connect(self.address)
        self.port = self.stream.getsockname()[1]

    def drop(self):
        if self.stream:
            self.stream.close()
        self.stream = None

    def count(self, column):
        self.counts[column] += 1
        CELL.pack_into(self.load.cells, self.number * CELL.size, *self.counts)

    def note(self, begun, error):
        self.count(1)
        row = {"service": self.service, "kind": self.kind, "error": f"{type(error).__name__}: {error}"[:200],
               "port": self.port, "opened": self.opened, "begun": begun, "failed": time.monotonic(),
               "answered": self.pid}
        os.write(self.failures, json.dumps(row).encode() + b"\n")
