"""Clients that send requests and count those that get no whole answer, by kind.

Half of them open a connection for each request (`new`), half keep theirs (`kept`) until the
server announces its end with `Connection: close`. A request on a kept connection that the
server has closed meanwhile counts as lost: nothing is looked at before, and nothing is tried
again, as where the request and the end cross on a long way.
"""

import collections
import random
import re
import socket
import threading
import time

CLIENTS = {"new": 4, "kept": 4}
# The longest pause between two requests, in seconds.
PAUSE = {"new": 0.01, "kept": 0.1}
# A request takes so long at most.
PATIENCE = 30
BODY = re.compile(rb"hello from \d+\n")


class Load:
    def __init__(self, port):
        self.port, self.over, self.lock = port, threading.Event(), threading.Lock()
        self.answers, self.lost = collections.Counter(), collections.Counter()
        self.threads = [threading.Thread(target=self.client, args=(kind,))
                        for kind, number in CLIENTS.items() for _ in range(number)]
        for thread in self.threads:
            thread.start()

    def client(self, kind):
        stream = None
        while not self.over.wait(random.uniform(0, PAUSE[kind])):
            step = "connecting"
            try:
                if stream is None:
                    stream = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
                step = "on its connection"
                is_kept = ask(stream, kind)
                with self.lock:
                    self.answers[kind] += 1
            except (OSError, ValueError) as error:
                is_kept = False
                with self.lock:
                    self.lost[kind, f"{step}: {error or type(error).__name__}"] += 1
            if not is_kept and stream:
                stream.close()
                stream = None
        if stream:
            stream.close()

    def count(self, kind):
        """Requests of this kind that were answered, and that were lost."""
        with self.lock:
            return self.answers[kind], sum(number for (is_of, _), number in self.lost.items() if is_of == kind)

    def wait_for(self, answers):
        """Waits until so many more requests of each kind are answered."""
        wanted = {kind: self.count(kind)[0] + answers for kind in CLIENTS}
        deadline = time.monotonic() + PATIENCE
        while any(self.count(kind)[0] < number for kind, number in wanted.items()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"fewer than {answers} answers in {PATIENCE} s: {dict(self.lost)}")
            self.over.wait(0.01)

    def finish(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def ask(stream, kind):
    """Sends a request; returns whether the connection is kept."""
    end = b"Connection: close\r\n" if kind == "new" else b""
    stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + end + b"\r\n")
    with stream.makefile("rb") as answer:
        status = answer.readline()
        if not status:
            raise ValueError("closed without an answer")
        fields = {}
        while (line := answer.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip().lower()
        if not line:
            raise ValueError("closed within an answer")
        body = read_body(answer, fields)
    words = status.split()
    if words[1:2] != [b"200"]:
        raise ValueError(f"status {words[1:2]}")
    if not BODY.fullmatch(body):
        raise ValueError(f"cut short, or wrong: {body[:40]!r}")
    return words[0] == b"HTTP/1.1" and fields.get("connection") != "close" and kind == "kept"


def read_body(answer, fields):
    if "content-length" in fields:
        return answer.read(int(fields["content-length"]))
    if fields.get("transfer-encoding") != "chunked":
        return answer.read()
    body = b""
    while size := read_size(answer):
        body += answer.read(size)
        answer.readline()
    answer.readline()
    return body


def read_size(answer):
    """The size of the next chunk."""
    line = answer.readline()
    if not line:
        raise ValueError("closed within an answer")
    return int(line, 16)
