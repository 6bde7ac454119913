"""Processes: who is whose child, what they weigh, and the kernel's word when one is born.

Births and deaths come from the process connector of the kernel (CONFIG_PROC_EVENTS), with its
own times of CLOCK_MONOTONIC; it needs root and the first namespaces of the machine.
"""

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple

CONNECTOR, LISTEN, FORK, EXIT = 11, 1, 1, 0x80000000
PR_SET_CHILD_SUBREAPER = 36


class Missed(Exception):
    """The kernel had more to tell than there was room for."""


class Birth(NamedTuple):
    time: float
    parent: int
    pid: int


def become_subreaper():
    """What loses its parent below this process becomes its child, and is not lost sight of."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def is_alive(pid):
    """Whether it runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid, without=()):
    """All living processes below this one, but those and what is below them."""
    found, todo = [], [pid]
    while todo:
        below = [child for child in children(todo.pop()) if child not in without]
        found += [child for child in below if is_alive(child)]
        todo += below
    return found


def weight(pids):
    """The proportional and the private memory of these processes, in KiB."""
    proportional = private = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Pss":
                proportional += int(value.split()[0])
            elif name.startswith("Private_"):
                private += int(value.split()[0])
    return proportional, private


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def reap():
    """Collects those that have ended and had become this process's children."""
    for pid in children(os.getpid()):
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def pause(seconds, pid=None):
    """Waits so long, or until that child has ended."""
    try:
        watched = [os.pidfd_open(pid)] if pid else []
    except ProcessLookupError:
        return
    select.select(watched, [], [], seconds)
    for number in watched:
        os.close(number)


def end_all(patience=15.0):
    """Ends all processes below this one, by SIGTERM and then by SIGKILL."""
    deadline = time.monotonic() + patience
    for pid in descendants(os.getpid()):
        kill(pid, signal.SIGTERM)
    while left := descendants(os.getpid()):
        if time.monotonic() > deadline:
            for pid in left:
                kill(pid, signal.SIGKILL)
        pause(0.1, left[0])
        reap()
    reap()


class Connector:
    """Births of processes, as the kernel tells of them."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
        self.socket.bind((0, 1))
        body = struct.pack("=IIIIHHI", 1, 1, 0, 0, 4, 0, LISTEN)
        self.socket.send(struct.pack("=IHHII", 16 + len(body), 3, 0, 0, 0) + body)
        # It answers, except to those in other namespaces.
        if not select.select([self.socket], [], [], 2)[0]:
            raise OSError(errno.ENOTCONN, "the kernel's process connector does not answer")

    def births(self, limit):
        """The births told of by now; waits up to so many seconds for something to happen."""
        found = []
        while select.select([self.socket], [], [], 0 if found else limit)[0]:
            limit = 0
            try:
                message = self.socket.recv(4096)
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise Missed from error
                raise
            what, _, moment, _, parent, pid, group = struct.unpack_from("=IIQIIII", message, 36)
            if what == FORK and pid == group:
                found.append(Birth(moment / 1e9, parent, pid))
        return found

    def forget(self):
        """Throws away what has happened so far."""
        self.births(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
