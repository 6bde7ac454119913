"""The client as a process, and all that it has reported."""

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

CLIENT = Path(__file__).with_name("client.py")


class Record(NamedTuple):
    """One request."""

    begun: float
    over: float
    kind: str
    result: str
    version: str
    pid: int

    @property
    def is_lost(self):
        return self.result != "ok"


class Load:
    """Requests from now on, until the end of the `with`."""

    def __init__(self, port):
        self.records, self.changed = [], threading.Condition()
        self.child = subprocess.Popen([sys.executable, CLIENT, str(port)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stdout:
            begun, over, kind, result, version, pid = line.split()
            record = Record(float(begun), float(over), kind, result, version,
                            int(pid) if pid.isdigit() else 0)
            with self.changed:
                self.records.append(record)
                self.changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.reader.join(10)

    def wait_for(self, is_so, limit):
        """Waits until that is true of all records; looks at each new one. False if it never is."""
        deadline = time.monotonic() + limit
        with self.changed:
            while not is_so(self.records):
                left = deadline - time.monotonic()
                if left <= 0 or self.child.poll() is not None:
                    return False
                self.changed.wait(left)
        return True

    def wait_answers(self, number, limit=30.0):
        """Waits for so many more good answers."""
        first = len(self.records)
        return self.wait_for(
            lambda records: sum(not record.is_lost for record in records[first:]) >= number, limit)

    def wait_until(self, moment):
        """Waits until a request ends that was begun later."""
        return self.wait_for(lambda records: records and records[-1].over >= moment,
                             max(0.0, moment - time.monotonic()) + 10)

    def since(self, begun, end=float("inf")):
        """The requests that were under way in that time."""
        with self.changed:
            return [record for record in self.records
                    if record.over >= begun and record.begun < end]


def losses(records):
    """How many were lost, by kind and on what connection."""
    return Counter(f"{record.result}, {record.kind}" for record in records if record.is_lost)
