"""What every system has in common: installing, starting, and what is asked of it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import processes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKERS = 4
BROKEN = "broken"


class NotInstalled(Exception):
    """It cannot be had here; the reason is what the table says."""


class Failed(Exception):
    """It did not do what a measurement needs."""


def do(*words, **more):
    """Runs a command to its end; returns what it printed."""
    try:
        done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=900, **more)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(map(str, words))}: not within {error.timeout:.0f} s") from error
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: {done.stdout.strip()[-400:]}")
    return done.stdout


def apt(command, *packages):
    """Debian's packages, if the command is not there."""
    if found := which(command):
        return found
    try:
        do("apt-get", "update", "-qq")
        do("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages,
           env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    except (Failed, OSError) as error:
        raise NotInstalled(f"apt-get install {' '.join(packages)}: {error}") from error
    if found := which(command):
        return found
    raise NotInstalled(f"{' '.join(packages)} has no {command}")


def which(command):
    """Where a command is; servers are where the path of a user may not lead."""
    return shutil.which(command, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def pip(command, *packages):
    """Packages of Python, below target/peers."""
    room = ROOT / "target/peers/python"
    try:
        if not (room / "bin/pip").exists():
            do(sys.executable, "-m", "venv", room)
        if not (room / "bin" / command).exists():
            do(room / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    except (Failed, OSError) as error:
        raise NotInstalled(f"pip install {' '.join(packages)}: {error}") from error
    return str(room / "bin" / command)


def npm(command, *packages):
    """Packages of node, below target/peers."""
    room = ROOT / "target/peers/node"
    program = room / "node_modules/.bin" / command
    try:
        if not program.exists():
            apt("npm", "npm")
            room.mkdir(parents=True, exist_ok=True)
            do("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", room, *packages)
    except (Failed, OSError) as error:
        raise NotInstalled(f"npm install {' '.join(packages)}: {error}") from error
    return str(program)


def serve_program():
    """The handler in C, compiled once."""
    program = ROOT / "target/peers/serve"
    source = HERE / "handlers/serve.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        apt("cc", "gcc", "libc6-dev")
        program.parent.mkdir(parents=True, exist_ok=True)
        do(os.environ.get("CC", "cc"), "-O2", "-static", "-o", program, source)
    return str(program)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def accepts(port):
    with socket.socket() as stream:
        stream.settimeout(1)
        return stream.connect_ex(("127.0.0.1", port)) == 0


class System:
    """One system. Those below say what differs."""

    name = ""
    # What answers, and how it is reloaded, in the words of the table.
    served = ""
    reloaded = ""
    # Rows of Panzer's are compared with those of their kind.
    kind = "server"
    handler = None
    # The measures that tell something new of it; all, if it is empty.
    measures = ()
    # Why it cannot have a thousand workers, if it cannot.
    no_thousand = ""

    def __init__(self):
        self.room = self.port = self.child = self.log = None
        self.workers_wanted = WORKERS
        self.version = "unknown"

    # What a system may say by itself.

    def install(self):
        """Installs it and learns its version."""

    def configure(self):
        """Writes its files into the room."""

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def reload(self):
        self.signal(signal.SIGHUP)

    def supervisors(self):
        """The processes that serve no request; the first is the one that all others are below."""
        return [self.child.pid]

    def workers(self):
        found = processes.children(self.supervisors()[-1])
        return [pid for pid in found if processes.is_alive(pid)]

    def every(self, without=()):
        """All its processes."""
        return processes.descendants(os.getpid(), without)

    def listening_port(self):
        """The port that is its own."""
        return self.port

    def write_version(self, version):
        (self.room / "version").write_text(str(version))

    # The same for all.

    def start(self, workers=WORKERS, limit=60.0):
        """Starts it in a room of its own, and waits until it serves with all workers."""
        self.workers_wanted, self.port = workers, free_port()
        self.room = ROOT / "target/peers/rooms" / self.name.replace(" ", "-").replace("/", "-")
        shutil.rmtree(self.room, ignore_errors=True)
        self.room.mkdir(parents=True)
        # Some serve as another user.
        self.room.chmod(0o777)
        if self.handler:
            shutil.copy(HERE / "handlers" / self.handler, self.room)
        self.write_version("0001")
        self.configure()
        self.log = open(self.room / "log", "a")
        self.child = subprocess.Popen([str(word) for word in self.command()], cwd=self.room,
                                      env=os.environ | self.environment(), start_new_session=True,
                                      stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.wait_until(lambda: self.child.poll() is not None or len(self.workers()) >= workers
                        and accepts(self.port), limit, f"{workers} workers")
        if self.child.poll() is not None:
            raise Failed(f"{self.name} has ended: {self.tail()}")

    def wait_until(self, is_so, limit, what):
        # Looking at a thousand processes takes a while itself.
        pause = 0.02 if self.workers_wanted <= 100 else 0.2
        for _ in range(int(limit / pause)):
            if is_so():
                return
            processes.pause(pause)
        raise Failed(f"{self.name}: not within {limit:.0f} s: {what}; its log ends: {self.tail()}")

    def tail(self):
        return (self.room / "log").read_text(errors="replace").strip()[-600:]

    def signal(self, number):
        os.kill(self.child.pid, number)

    def break_release(self):
        """From now on what is started anew cannot start."""
        self.write_version(BROKEN)

    def stop(self):
        processes.end_all()
        self.child.wait()
        self.log.close()
