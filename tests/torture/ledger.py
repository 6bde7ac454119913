"""What happened when and to which process, and which connections it held then.

Before a process is killed, stopped or frozen, it is stopped by SIGSTOP; then the peers of
its sockets are noted, through duplicates of them, and only then it gets what it is to get.
So the servers need not know of the ledger. A failed request is excused by an entry that
has the client's port among those held, made while the connection was open, and only if the
request was under way before the process had run again for GRACE seconds.

One loss more is documented: main cuts the drain of the oldest of three generations short. One
whose monitor is stopped drains for that long, so a connection that one of its workers had
answered on is excused too, if main has cut that drain short meanwhile.
"""

import ctypes
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

PIDFD_GETFD = 438
# What a process that has run again may still end, such as a drain that became late.
GRACE = 1
C = ctypes.CDLL(None, use_errno=True)


class Gone(Exception):
    """The process has ended meanwhile."""


def stat(pid):
    """State, parent, session of a process, and when it was started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        raise Gone from None
    return fields[0], int(fields[1]), int(fields[3]), int(fields[19])


def everyone():
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def descendants(root):
    """All processes below this one, without zombies, the oldest first."""
    parents, found = {}, []
    for pid in everyone():
        try:
            state, parent, _, began = stat(pid)
        except Gone:
            continue
        if state not in "ZX":
            parents[pid] = parent, began
    for pid, (parent, began) in parents.items():
        while parent not in (0, root) and parent in parents:
            parent = parents[parent][0]
        if parent == root:
            found.append((began, pid))
    return [pid for _, pid in sorted(found)]


class Process:
    """A process that cannot be mistaken for another."""

    def __init__(self, pid, root):
        try:
            self.pid, self.fd = pid, os.pidfd_open(pid)
        except OSError:
            raise Gone from None
        if pid not in descendants(root):
            self.close()
            raise Gone

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, number):
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            raise Gone from None

    def wait_for_state(self, wanted, pause=threading.Event()):
        """Waits until it is in one of these states, for two seconds at most."""
        for _ in range(1000):
            if stat(self.pid)[0] in wanted:
                return True
            pause.wait(0.002)
        return False

    def has_pending(self, number):
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            raise Gone from None
        masks = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("ShdPnd", "SigPnd"))]
        return any(mask >> number - 1 & 1 for mask in masks)

    def peers(self):
        """The ports of the clients whose connections it holds; it must not run meanwhile."""
        ports = []
        try:
            names = os.listdir(f"/proc/{self.pid}/fd")
        except OSError:
            raise Gone from None
        for name in names:
            try:
                if not os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:"):
                    continue
            except OSError:
                continue
            copy = C.syscall(PIDFD_GETFD, self.fd, int(name), 0)
            if copy < 0:
                continue
            with socket.socket(fileno=copy) as stream:
                if stream.family == socket.AF_INET and stream.type == socket.SOCK_STREAM:
                    try:
                        ports.append(stream.getpeername()[1])
                    except OSError:
                        pass  # A listener has no peer.
        return sorted(ports)


class Ledger:
    def __init__(self, path, begun):
        self.file, self.entries, self.lock, self.begun = open(path, "w"), [], threading.Lock(), begun

    def note(self, service, action, **more):
        """Writes that something was done; returns the entry, which `amend` may complete."""
        entry = {"t": time.monotonic(), "service": service, "action": action, **more}
        with self.lock:
            self.entries.append(entry)
            self.write(entry)
        return entry

    def amend(self, entry, **more):
        with self.lock:
            entry |= more
            self.write(entry)

    def write(self, entry):
        shown = entry | {"t": round(entry["t"] - self.begun, 4)}
        self.file.write(json.dumps(shown) + "\n")
        self.file.flush()

    def excuse(self, failure, cut_short):
        """The entry that excuses a failed request, if one does; `cut_short` has the monitors
        whose drains main has cut short."""
        for entry in self.entries:
            over = entry.get("over", float("inf"))
            is_then = entry["t"] <= failure["failed"] and failure["begun"] <= over + GRACE
            if entry["service"] != failure["service"] or not is_then:
                continue
            if failure["port"] in entry.get("held", []) and failure["opened"] <= entry["t"]:
                return entry
            if failure["answered"] in entry.get("workers", []) and entry["pid"] in cut_short:
                return entry | {"action": "drain cut short, monitor stopped by"}
        return None
