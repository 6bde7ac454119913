"""Control groups of a service's own, as far as they can be had here."""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Of each controller: its file, and the words that begin and end what it does.
FREEZER = [("freezer", "freezer.state", "FROZEN", "THAWED"), ("", "cgroup.freeze", "1", "0"),
           ("unified", "cgroup.freeze", "1", "0")]
PIDS = [("pids", "pids.max", None, "max"), ("", "pids.max", None, "max")]


class Group:
    """The first of these that can be made; else it is_there not."""

    def __init__(self, kinds, name):
        self.path = None
        for mount, file, self.begin, self.end in kinds:
            path = ROOT / mount / name
            try:
                path.mkdir()
            except OSError:
                continue
            if (path / file).exists():
                self.path, self.file = path, path / file
                return
            path.rmdir()

    @property
    def is_there(self):
        return self.path is not None

    def set(self, value):
        self.file.write_text(value)

    def is_frozen(self):
        """Version 2 says so elsewhere."""
        events = self.path / "cgroup.events"
        return self.file.read_text() == "FROZEN\n" or events.exists() and "frozen 1" in events.read_text()

    def remove(self):
        if self.is_there:
            os.rmdir(self.path)
