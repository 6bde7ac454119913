"""What the tests of containers share: a container, its network, and clients that lose nothing."""

import collections
import fcntl
import itertools
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUNTIME = HERE / "runtime"
STATIC = ROOT / "target/x86_64-unknown-linux-musl"
# Only what fails waits so long.
TIMEOUT = 60
PORT = 8080
PID_FILE = "/run/panzer.pid"
# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
sys.dont_write_bytecode = True


def load_module(name, path):
    loader = SourceFileLoader(name, str(path))
    module = module_from_spec(spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


clients = load_module("clients", ROOT / "tests/async/run")


class Failed(Exception):
    """What a test has found wrong."""


class Skipped(Exception):
    """What this machine lacks for a test."""


def check(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")


def contains(what, text, part):
    if part not in text:
        raise Failed(f"{what}: no {part!r} in {text!r}")


def wait_for(what, condition):
    """Waits until that is so."""
    due = time.monotonic() + TIMEOUT
    while not (found := condition()):
        if time.monotonic() > due:
            raise Failed(f"not within {TIMEOUT} s: {what}")
        select.select([], [], [], 0.01)
    return found


def own_namespaces():
    """Goes on in namespaces of its own: with them everything ends that it starts, and nothing
    that it mounts or names is seen by others."""
    if os.geteuid() != 0:
        print("skipped: containers of one's own need root")
        sys.exit(0)
    if "PANZER_CONTAINERS" not in os.environ:
        sys.exit(enter_namespaces())
    reap_the_rest()
    do("ip", "link", "set", "lo", "up")


def enter_namespaces():
    """Runs this program in them, with a directory, and returns its status. A signal that ends this
    process ends that one, which as process 1 would not take it, and nothing is left of it."""
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--ipc", "--uts",
             "--fork", "--kill-child", "--mount-proc", sys.executable, *sys.argv]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="panzer-containers-", ignore_cleanup_errors=True) as path:
        child = subprocess.Popen(words, env=os.environ | {"PANZER_CONTAINERS": path})
        try:
            return child.wait()
        finally:
            child.kill()
            child.wait()


def reap_the_rest():
    """Goes on in a child. A container is not over before each process that was run in it is
    reaped, and of some the parent is gone."""
    child = os.fork()
    while child:
        ended, status = os.wait()
        if ended == child:
            os._exit(max(os.waitstatus_to_exitcode(status), 1) if status else 0)


def do(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stdout}")
    return done.stdout


class Network:
    """A network namespace with one address, which outlives what runs in it."""

    numbers = itertools.count(1)

    def __init__(self):
        number = next(Network.numbers)
        self.name, self.address = f"panzer-{number}", f"10.213.{number}.2"
        self.file = f"/run/netns/{self.name}"
        do("ip", "netns", "add", self.name)
        do("ip", "link", "add", f"panzer{number}", "type", "veth", "peer", "name", "eth0",
           "netns", self.name)
        do("ip", "address", "add", f"10.213.{number}.1/30", "dev", f"panzer{number}")
        do("ip", "link", "set", f"panzer{number}", "up")
        do("ip", "-n", self.name, "address", "add", f"{self.address}/30", "dev", "eth0")
        do("ip", "-n", self.name, "link", "set", "eth0", "up")
        do("ip", "-n", self.name, "link", "set", "lo", "up")


class FarNetwork(Network):
    """One to which a packet takes a while, over devices of our own: the kernel here has no such
    discipline of a queue."""

    def __init__(self, seconds):
        super().__init__()
        number = int(self.name.split("-")[1])
        near, far = [self.device(f"{end}{number}") for end in ("near", "far")]
        self.address = f"10.214.{number}.2"
        do("ip", "link", "set", f"far{number}", "netns", self.name)
        for words, end, host in [(["ip"], f"near{number}", 1), (["ip", "-n", self.name], f"far{number}", 2)]:
            do(*words, "address", "add", f"10.214.{number}.{host}/30", "dev", end)
            do(*words, "link", "set", end, "up")
        for ends in [(near, far), (far, near)]:
            threading.Thread(target=self.carry, args=[*ends, seconds], daemon=True).start()

    @staticmethod
    def device(name):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
        return descriptor

    @staticmethod
    def carry(source, destination, seconds):
        packets = collections.deque()
        while True:
            left = max(0, packets[0][0] - time.monotonic()) if packets else None
            if select.select([source], [], [], left)[0]:
                packets.append((time.monotonic() + seconds, os.read(source, 1 << 16)))
            while packets and packets[0][0] <= time.monotonic():
                os.write(destination, packets.popleft()[1])


class Room:
    """A temporary directory, with an image of each program: a root of static files."""

    def __init__(self):
        # Here and nowhere else are the names of networks.
        os.makedirs("/run/netns", exist_ok=True)
        do("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
        self.path = Path(os.environ["PANZER_CONTAINERS"])
        self.path.chmod(0o755)
        self.numbers = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def image(self, app):
        """A new root, where that example is /app."""
        root = self.path / f"root{next(self.numbers)}"
        root.mkdir()
        examples = Path(os.environ.get("PANZER_EXAMPLES", STATIC / "debug/examples"))
        for name, file in [("panzer", program("panzer")), ("panzerctl", program("panzerctl")),
                           ("app", examples / app)]:
            shutil.copy(file, root / name)
        return root


def program(name):
    return os.environ.get(f"{name.upper()}_BIN", STATIC / "release" / name)


class Container:
    """A container whose process 1 is panzer."""

    def __init__(self, root, options, command=(), network=None, output=None, **spec):
        self.spec = {"root": str(root), "dev": ["null"], "tmpfs": {"/run": "mode=1777"}} | spec
        if network:
            self.spec["network"] = network.file
        self.address = network and network.address
        self.log = open(f"{root}.log", "a+")
        reader, writer = os.pipe()
        words = ["/panzer", *options, *(["--", *command] if command else [])]
        self.child = subprocess.Popen(
            [RUNTIME, "run", json.dumps(self.spec | {"tell": writer}), *words],
            stdin=subprocess.DEVNULL, stdout=output or self.log, stderr=output or self.log,
            pass_fds=[writer])
        os.close(writer)
        with open(reader) as told:
            self.pid = int(told.read() or 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def text(self):
        """All that its processes have written."""
        self.log.seek(0)
        return self.log.read()

    def run(self, *words, **more):
        """Runs a program of the root in it; returns the status and what was printed."""
        spec = {key: value for key, value in (self.spec | more).items() if key != "tell"}
        done = subprocess.run([RUNTIME, "exec", json.dumps(spec), str(self.pid), *words],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT)
        return done.returncode, done.stdout

    def probe(self):
        """What an exec probe says of it; this one is quick, for it drops no right but that of the
        user."""
        user = str(self.spec.get("user", 0))
        words = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--ipc", "--uts",
                 "--cgroup", "--setuid", user, "--setgid", user, "/panzerctl", "-p", PID_FILE, "ready"]
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=TIMEOUT).returncode == 0

    def ctl(self, *words, status=0, **more):
        """panzerctl, as an exec probe runs it; returns what it has printed."""
        found, text = self.run("/panzerctl", "-p", PID_FILE, *words, **more)
        if found != status:
            raise Failed(f"panzerctl {' '.join(words)}: status {found}, not {status}: {text}"
                         f"\n{self.text()}")
        return text

    def wait_until_current(self, generation=1):
        def look():
            if self.child.poll() is not None:
                raise Failed(f"it has ended with status {self.child.returncode}\n{self.text()}")
            return f"generation {generation}: current" in self.text()
        wait_for(f"generation {generation} is current", look)

    def signal(self, number=signal.SIGTERM):
        os.kill(self.pid, number)

    def end(self):
        """The status with which it ends."""
        try:
            return self.child.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            table = subprocess.run(["ps", "-eo", "pid,ppid,stat,wchan:20,etime,args", "--forest"],
                                   stdout=subprocess.PIPE, text=True).stdout
            raise Failed(f"it does not end\n{table}\n{self.text()}") from None

    def outside(self, pid):
        """The pid that a process of it has outside."""
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                if re.search(rf"^NSpid:.*\t{pid}$", path.read_text(), re.M) and self.holds(path.parent):
                    return int(path.parent.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
        raise Failed(f"no process {pid} in the container")

    def holds(self, process):
        return os.readlink(process / "ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid")

    def children(self):
        """The processes that process 1 has to reap some day, as they are named outside."""
        return Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def footprint(self):
        """Descriptors and pages of process 1 that are its own."""
        memory = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        private = sum(int(kib) for kib in re.findall(r"^Private_\w+: +(\d+)", memory, re.M))
        return len(os.listdir(f"/proc/{self.pid}/fd")), private
