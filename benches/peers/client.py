#!/usr/bin/env python3
"""The client of all measurements: paced, and open at its end.

usage: client.py PORT

Every STEP it opens BURST connections with one request each, whatever has become of those
before, and has KEPT connections that send a request each KEPT_STEP. Each request that is over
is one line: when it was sent and was over (seconds of CLOCK_MONOTONIC), `new` or `kept`, what
came of it, and the version and pid in the answer. When its standard input ends it sends no more,
and ends when all is answered or given up.

A connection that the server closes while no request is on it is no loss: it is opened again.
"""

import errno
import re
import select
import socket
import sys
import time

BURST, STEP = 4, 0.016
KEPT, KEPT_STEP = 4, 0.032
PATIENCE = 5.0
MOST = 400

NEW = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
AGAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = re.compile(rb"(?:gen=)?(\d+) +(?:slot=\d+ pid=)?(\d+)\s*$")
FAILURES = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset",
            errno.ECONNABORTED: "reset"}


def is_last(head):
    """Whether the server closes the connection after this answer."""
    said = re.search(rb"(?i)\r\nconnection: *([a-z-]+)", head)
    default = b"close" if head.startswith(b"HTTP/1.0") else b"keep-alive"
    return (said[1].lower() if said else default) == b"close"


class Request:
    """One connection, with at most one request on it."""

    def __init__(self, is_kept):
        self.is_kept, self.stream = is_kept, None
        self.sent, self.is_connected, self.received, self.due = None, False, b"", 0.0


class Client:
    def __init__(self, port):
        self.port, self.poll, self.open = port, select.epoll(), {}
        self.kept = [Request(True) for _ in range(KEPT)]
        now = time.monotonic()
        for index, request in enumerate(self.kept):
            request.due = now + index * KEPT_STEP / KEPT
        self.next, self.is_ending = now, False

    def run(self):
        self.poll.register(0, select.EPOLLIN)
        while not self.is_ending or any(request.sent for request in self.open.values()):
            now = time.monotonic()
            if not self.is_ending:
                self.begin(now)
            self.expire(now)
            for number, _ in self.poll.poll(max(0.0, self.next_time() - time.monotonic())):
                if number == 0:
                    self.is_ending = True
                    self.poll.unregister(0)
                elif number in self.open:
                    self.proceed(self.open[number])
            sys.stdout.flush()

    def next_time(self):
        """When something is due, or late."""
        if self.is_ending:
            sent = [request.sent for request in self.open.values() if request.sent is not None]
            return min(sent, default=0.0) + PATIENCE
        return min([self.next, *(request.due for request in self.kept if request.sent is None)])

    def begin(self, now):
        """Sends all requests that are due."""
        if now >= self.next:
            # A step that was missed is not made up for.
            self.next = max(self.next + STEP, now)
            for _ in range(BURST if len(self.open) < MOST else 0):
                self.send(Request(False), now)
        for request in self.kept:
            if request.sent is None and now >= request.due:
                self.send(request, now)

    def send(self, request, now):
        request.sent, request.received = now, b""
        try:
            if request.stream is None:
                self.connect(request)
            elif request.is_connected:
                request.stream.send(AGAIN)
        except OSError as error:
            self.fail(request, FAILURES.get(error.errno, errno.errorcode.get(error.errno, "?")))

    def connect(self, request):
        request.stream, request.is_connected = socket.socket(), False
        request.stream.setblocking(False)
        self.open[request.stream.fileno()] = request
        self.poll.register(request.stream, select.EPOLLIN | select.EPOLLOUT)
        try:
            request.stream.connect(("127.0.0.1", self.port))
        except BlockingIOError:
            pass

    def proceed(self, request):
        """The connection is made, or has something to read."""
        try:
            if not request.is_connected:
                error = request.stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "connect")
                request.is_connected = True
                self.poll.modify(request.stream, select.EPOLLIN)
                request.stream.send(AGAIN if request.is_kept else NEW)
                return
            piece = request.stream.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(request, FAILURES.get(error.errno, errno.errorcode.get(error.errno, "?")))
            return
        request.received += piece
        if request.sent is None:
            self.close(request)
        elif not piece and not self.answered(request, True):
            self.fail(request, "closed")
        elif piece:
            self.answered(request, False)

    def answered(self, request, is_end):
        """Looks for a whole answer; false if there is none."""
        head, gap, body = request.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not gap or (len(body) < int(length[1]) if length else not is_end):
            return False
        found = BODY.search(body)
        is_good = head[9:12] == b"200" and found
        self.print(request, "ok" if is_good else f"status-{head[9:12].decode('ascii', 'replace')}",
                   *(found.groups() if is_good else (b"-", b"-")))
        if not request.is_kept or not length or is_last(head):
            self.close(request)
        return True

    def fail(self, request, what):
        self.print(request, what, b"-", b"-")
        self.close(request)

    def print(self, request, what, version, pid):
        now = time.monotonic()
        kind = "kept" if request.is_kept else "new"
        print(f"{request.sent:.6f} {now:.6f} {kind} {what} {version.decode()} {pid.decode()}")
        request.due = max(request.sent + KEPT_STEP, now)
        request.sent = None

    def close(self, request):
        if request.stream is not None:
            self.open.pop(request.stream.fileno(), None)
            request.stream.close()
            request.stream = None

    def expire(self, now):
        for request in list(self.open.values()):
            if request.sent is not None and now - request.sent > PATIENCE:
                self.fail(request, "timed-out")


if __name__ == "__main__":
    Client(int(sys.argv[1])).run()
