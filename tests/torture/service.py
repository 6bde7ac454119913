"""A main with its files, its log and its releases."""

import fcntl
import json
import os
import re
import resource
import struct
import subprocess
import threading
from pathlib import Path

from cgroup import FREEZER, PIDS, Group

HERE = Path(__file__).resolve().parent

# How each release comes to be: a link to the program, or a script.
SCRIPTS = {
    "exit": "exit 7",
    "never": "exec sleep 3600",
    "crash": 'exec "{serve}" crash',
    "noise": 'exec "{serve}" noise "{good}" "$@"',
}
BROKEN = ["exit", "never", "crash", "not-executable", "missing"]
GOOD = ["good", "good", "noise"]

# What stands in the configuration file unless the seed says otherwise.
SETTINGS = {"count": 3, "probation": 0.5, "lifetime": 0, "hang-timeout": 0}


class Reader:
    """Reads the log from a small pipe, or for a while does not."""

    def __init__(self, path):
        self.source, self.end = os.pipe()
        # 4096 bytes: it is full at once.
        fcntl.fcntl(self.end, fcntl.F_SETPIPE_SZ, 4096)
        self.file, self.may_read, self.lines = open(path, "wb"), threading.Event(), 0
        self.may_read.set()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while part := os.read(self.source, 4096):
            self.file.write(part)
            self.file.flush()
            self.lines += part.count(b"\n")
            self.may_read.wait()


class Service:
    """panzer over one program; `words` is what comes after the name of that."""

    def __init__(self, servers, room, name, port, good, options, words):
        self.servers, self.name, self.path, self.port = servers, name, room / name, port
        self.path.mkdir()
        self.good, self.current, self.binary = good, self.path / "current", self.path / "panzer"
        self.panzer = servers.program("panzer")
        self.make_releases()
        self.release("good")
        self.use_binary(self.panzer)
        self.configure({})
        self.reader = Reader(self.path / "log")
        self.events, self.clock = open(self.path / "events", "w"), self.path / "clock"
        self.clock.write_bytes(bytes(8))
        environment = os.environ | {"LD_PRELOAD": str(room / "clock.so"), "JUMP_FILE": str(self.clock)}
        self.files = self.list_files()
        command = [self.binary, "--event-fd=1", f"--pid={self.path}/panzer.pid", f"--config={self.path}/config.yml",
                   f"--bind=web=127.0.0.1:{self.port}", "--timeout=15", "--delay=0.1", "--max-delay=1",
                   "--ready-timeout=5", *options, "--", self.current, *(word.format(port=self.port) for word in words)]
        groups = f"panzer-torture-{room.name}-{name}"
        self.freezer, self.pids = Group(FREEZER, groups), Group(PIDS, groups)
        # It is in its groups before it is panzer.
        enter = "".join(f"echo 0 >{group.path}/cgroup.procs; " for group in self.groups())
        command = ["sh", "-c", enter + 'exec "$0" "$@"', *command]
        self.child = subprocess.Popen(command, cwd=self.path, stdin=subprocess.DEVNULL, stdout=self.events,
                                      stderr=self.reader.end, env=environment)
        os.close(self.reader.end)
        self.most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    @property
    def pid(self):
        return self.child.pid

    def groups(self):
        return [group for group in (self.freezer, self.pids) if group.is_there]

    def make_releases(self):
        for name, text in SCRIPTS.items():
            file = self.path / name
            file.write_text("#!/bin/sh\n" + text.format(serve=self.serve(), good=self.good) + "\n")
            file.chmod(0o755)
        (self.path / "not-executable").write_text("#!/bin/sh\nexit 0\n")
        (self.path / "good").symlink_to(self.good)

    def serve(self):
        return self.path.parent / "serve"

    def release(self, name):
        """What the next generation is made of."""
        self.link(self.current, name)

    def use_binary(self, target):
        """What main becomes at the next restart."""
        self.link(self.binary, target)

    def link(self, path, target):
        new = path.with_name(path.name + ".new")
        new.symlink_to(target)
        new.rename(path)

    def configure(self, settings):
        self.write_config("".join(f"{key}: {value}\n" for key, value in (SETTINGS | settings).items()))

    def jump(self, seconds):
        with open(self.clock, "r+b") as file:
            file.write(struct.pack("<q", seconds))

    def write_config(self, text):
        new = self.path / "config.new"
        new.write_text(text)
        new.rename(self.path / "config.yml")

    def ctl(self, *words, timeout=30):
        command = [self.servers.program("panzerctl"), f"--pid={self.path}/panzer.pid", f"--timeout={timeout}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=2 * timeout)

    def status(self):
        return json.loads(self.ctl("status", "--json").stdout)

    def notify_sockets(self):
        return sorted(str(path) for path in self.path.glob("panzer.*/**/*") if path.is_socket())

    def list_files(self):
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*"))

    def tail(self, name, lines=40):
        return "\n".join((self.path / name).read_text(errors="replace").splitlines()[-lines:])

    def cut_short(self):
        """The monitors of generations whose drains main has cut short."""
        log = (self.path / "log").read_text(errors="replace")
        generations = set(re.findall(r"generation (\d+): cutting drain short", log))
        events = map(json.loads, (self.path / "events").read_text().splitlines())
        return {event["pid"] for event in events
                if event["event"] == "started" and str(event["gen"]) in generations}

    def weigh(self):
        """Descriptors and KiB of main."""
        proc = Path(f"/proc/{self.pid}")
        links = []
        for file in (proc / "fd").iterdir():
            links.append(re.sub(r":\[\d+\]", "", os.readlink(file)))
        text = (proc / "smaps_rollup").read_text()
        sizes = {key: int(size) for key, size in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
        return {"descriptors": len(links), "links": sorted(links), "resident": sizes["Rss"],
                "private": sizes["Private_Clean"] + sizes["Private_Dirty"]}
