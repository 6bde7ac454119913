"""What happens to a service: one thing after the other, all chosen by the numbers of a seed.

The seed decides what is done, for how long, how long after the thing before, and which of
those that are there then is the target. Each thing is in the ledger. What lasts is undone by
a list of things that are due later.
"""

import heapq
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

from ledger import Gone, Process, descendants, stat
from service import BROKEN, GOOD, SETTINGS

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NOBODY = 65534
# From one thing to the next, in seconds.
GAP = (0.05, 1.2)
# How long something lasts: longer than what is due within seconds in panzer.
SPAN = (0.1, 4)

HARMLESS = ["CHLD", "WINCH", "CONT", "URG"]
LETHAL = ["TERM", "KILL", "ABRT", "SEGV", "HUP", "USR1", "USR2", "QUIT", "PIPE", "ALRM", "BUS", "VTALRM"]
STOPPING = ["STOP", "TSTP", "TTIN", "TTOU"]
OF_OPERATORS = ["HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "CHLD"]

GARBAGE = [b"", b"\n", b"panzer/1 ", b"panzer/1 status", b"panzer/2 status\n", b"GET / HTTP/1.1\r\n\r\n",
           b"panzer/1 scale 99999999999999999999\n", b"\x00" * 64, b"\xff" * 4096, b"panzer/1 relo\nad\n"]
TEXTS = ["", "READY=", "\n\n\n", "=", "FDSTORE=1", "FDSTORE=1\nFDNAME=a/b\nFDPOLL=0", "FDSTOREREMOVE=1\nFDNAME=web",
         "STATUS=\x1b[31m", "STOPPING=1\n", "MAINPID=1", "WATCHDOG=trigger", "X" * 8000]


class Torment(threading.Thread):
    def __init__(self, service, ledger, seed, is_calm, over):
        super().__init__(name=service.name)
        self.service, self.ledger, self.over, self.trouble = service, ledger, over, None
        self.random = random.Random(f"{seed} {service.name}")
        self.due, self.number, self.done, self.is_frozen, self.ending = [], 0, {}, False, []
        self.is_calm, self.things = is_calm, CALM_THINGS + ([] if is_calm else UNKIND_THINGS)

    def run(self):
        try:
            while not self.over.is_set():
                self.wait(self.random.uniform(*GAP))
                # Its own numbers, so that the next thing does not depend on what this one finds.
                thing, choice = self.random.choice(self.things), random.Random(self.random.random())
                self.done[thing.__name__] = self.done.get(thing.__name__, 0) + 1
                try:
                    thing(self, choice)
                except Gone:
                    self.note(thing.__name__, missed=True)
        except Exception:
            self.trouble = traceback.format_exc()
        finally:
            self.undo_all()

    def note(self, action, **more):
        return self.ledger.note(self.service.name, action, **more)

    def wait(self, seconds):
        until = time.monotonic() + seconds
        while not self.over.is_set():
            next_due = self.due[0][0] if self.due else until
            self.over.wait(max(0, min(until, next_due) - time.monotonic()))
            now = time.monotonic()
            if self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2]()
            elif now >= until:
                return

    def later(self, choice, undo):
        self.number += 1
        heapq.heappush(self.due, (time.monotonic() + choice.uniform(*SPAN), self.number, undo))

    def undo_all(self):
        while self.due:
            heapq.heappop(self.due)[2]()
        for child in self.ending:
            child.wait(timeout=60)

    def target(self, choice):
        """Any process below main."""
        return self.one_of(choice, descendants(self.service.pid))

    def monitor(self, choice):
        # A worker whose monitor is gone is main's child, too, but leads no session.
        own = [pid for pid in descendants(self.service.pid) if stat(pid)[1] == self.service.pid]
        return self.one_of(choice, [pid for pid in own if stat(pid)[2] == pid])

    def one_of(self, choice, found):
        # A frozen one would get its signal only after the ledger was written.
        if self.is_frozen or not found:
            raise Gone
        return Process(choice.choice(found), self.service.pid)

    # What ends no process.

    def signal_main(self, choice):
        name = choice.choice(OF_OPERATORS)
        self.note("signal main", signal=name)
        os.kill(self.service.pid, getattr(signal, "SIG" + name))

    def forged_ready_signal(self, _):
        self.note("SIGVTALRM to main")
        os.kill(self.service.pid, signal.SIGVTALRM)

    def harmless_signal(self, choice):
        name = choice.choice(HARMLESS)
        with self.target(choice) as process:
            self.note("signal", signal=name, pid=process.pid)
            process.send(getattr(signal, "SIG" + name))

    def release(self, choice):
        name = choice.choice(BROKEN + GOOD)
        self.note("release", release=name)
        self.service.release(name)
        self.reload(choice)
        self.later(choice, lambda: self.service.release("good"))

    def reload(self, choice):
        self.ctl(choice, "reload")

    def restart(self, choice):
        self.ctl(choice, "restart")

    def scale(self, choice):
        self.ctl(choice, "scale", choice.choice(["1", "2", "3", "4", "+1", "-1", "6"]))

    def status(self, choice):
        self.ctl(choice, "status", *choice.choice([[], ["--json"], ["--metrics"]]))

    def ctl(self, choice, *words):
        extra = choice.choice([["--no-wait"], ["--no-wait"], []]) if words[0] != "status" else []
        self.note("panzerctl", words=[*words, *extra])
        self.service.ctl(*words, *extra, timeout=5)

    def broken_binary(self, choice):
        target = choice.choice([self.service.path / "exit", self.service.path / "never", "/dev/null", "nowhere"])
        self.note("restart as", binary=str(target))
        self.service.use_binary(target)
        self.service.ctl("restart", "--no-wait", timeout=5)
        self.later(choice, lambda: self.service.use_binary(self.service.panzer))

    def settings(self, choice):
        settings = {"lifetime": choice.choice([0, 1, 3]), "hang-timeout": choice.choice([0, 20 if self.is_calm else 3]),
                    "probation": choice.choice([0, 0.2, 1]), "count": choice.choice([2, 3, 4])}
        self.note("settings", **settings)
        self.service.configure(settings)
        self.reload(choice)

    def bad_settings(self, choice):
        text = choice.choice(["count: many\n", "\tcount: 2\n", "nothing: 1\n", "count: 2\ncount: 3\n", "{}\n", "- \n"])
        self.note("settings", text=text)
        self.service.write_config(text)
        self.reload(choice)
        self.later(choice, lambda: self.service.configure(SETTINGS))

    def hostile_operators(self, choice):
        """Connections with garbage, half a request, or requests whose answers nobody reads."""
        streams, kind = [], choice.choice(["garbage", "half", "many", "deaf"])
        self.note("hostile operators", kind=kind)
        for _ in range({"garbage": 5, "half": 5, "many": 100, "deaf": 20}[kind]):
            try:
                stream = socket.socket(socket.AF_UNIX)
                streams.append(stream)
                stream.setblocking(False)
                stream.connect(str(self.service.path / "panzer.sock"))
                stream.send({"garbage": choice.choice(GARBAGE), "half": b"panzer/1 stat", "many": b"",
                             "deaf": b"panzer/1 status\n"}[kind])
            except OSError:
                pass  # Main may refuse one.
        self.later(choice, lambda: [stream.close() for stream in streams])

    def hostile_notifications(self, choice):
        """Messages of a stranger: another user, who says READY=1 too, or root with nonsense."""
        names, as_nobody = self.service.notify_sockets(), choice.random() < 0.5
        self.note("notifications", sockets=len(names), nobody=as_nobody)
        if names:
            text = "READY=1" if as_nobody else choice.choice(TEXTS)
            words = [choice.choice(names), text, str(NOBODY if as_nobody else 0), str(choice.choice([1, 20, 500]))]
            subprocess.run([sys.executable, Path(__file__).with_name("stranger.py"), *words], check=False, timeout=60)

    def hanging_descriptor(self, choice):
        """A file whose last closing waits for a file server that does not reply."""
        names = self.service.notify_sockets()
        if not names or not os.path.exists("/dev/fuse"):
            raise Gone
        self.note("hanging descriptor")
        name = choice.choice(names)
        child = subprocess.Popen([sys.executable, FIXTURES / "fuse.py", "file", name, "FDSTORE=1\nFDNAME=fuse"],
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def end():
            child.stdin.close()
            # It may wait for main, and main for a limit that this thread is to take back.
            self.ending = [one for one in [*self.ending, child] if one.poll() is None]
        self.later(choice, end)

    def deaf_log(self, choice):
        self.note("log is not read")
        self.service.reader.may_read.clear()
        self.later(choice, self.service.reader.may_read.set)

    def few_descriptors(self, choice):
        """A limit below or just above what main has open."""
        self.limit(choice.choice([3, 8, 12, 16, 24]))

        def restore():
            self.limit(self.service.most_files)
            # What was started meanwhile has the limit still.
            self.service.ctl("reload", "--no-wait", timeout=5)
        self.later(choice, restore)

    def few_processes(self, choice):
        """No more than there are, or few more: fork(2) fails."""
        pids = self.service.pids
        if not pids.is_there:
            raise Gone
        most = 1 + len(descendants(self.service.pid)) + choice.choice([0, 0, 1, 3])
        self.note("limit", processes=most)
        pids.set(str(most))
        self.later(choice, lambda: pids.set(pids.end))

    def clock_jump(self, choice):
        """Of the wall clock of monitors and workers; main is linked statically."""
        seconds = choice.choice([-86400, -5, 5, 3600, 2**31, 0])
        self.note("clock", seconds=seconds)
        self.service.jump(seconds)
        self.later(choice, lambda: self.service.jump(0))

    def limit(self, soft):
        _, hard = resource.prlimit(self.service.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.service.pid, resource.RLIMIT_NOFILE, (soft, hard))
        self.note("limit", descriptors=soft)

    # What ends or stops processes.

    def lethal_signal(self, choice):
        name = choice.choice(LETHAL)
        with self.target(choice) as process:
            self.hit(process, name)

    def kill_monitor(self, choice):
        with self.monitor(choice) as process:
            self.hit(process, choice.choice(["KILL", "TERM", "SEGV"]))

    def hit(self, process, name):
        """Stops it, notes what it holds, and lets it have the signal before anything else."""
        process.send(signal.SIGSTOP)
        if process.wait_for_state("TtZX"):
            entry = self.note("signal", signal=name, pid=process.pid, held=process.peers())
            self.ledger.amend(entry, over=entry["t"])
            process.send(getattr(signal, "SIG" + name))
        self.unless_gone(process.send, signal.SIGCONT)

    def stop_for_a_while(self, choice):
        process = self.target(choice)
        name, stopped = choice.choice(STOPPING), None
        process.send(getattr(signal, "SIG" + name))
        # TSTP, TTIN and TTOU may be ignored.
        process.send(signal.SIGSTOP)
        if process.wait_for_state("TtZX"):
            stopped = self.note("stop", signal=name, pid=process.pid, held=process.peers(),
                                workers=descendants(process.pid))

        def proceed():
            self.unless_gone(process.send, signal.SIGCONT)
            if stopped:
                self.ledger.amend(stopped, over=time.monotonic())
            process.close()
        self.later(choice, proceed)

    def freeze(self, choice):
        """All of it, main too."""
        freezer = self.service.freezer
        if not freezer.is_there or self.is_frozen:
            raise Gone
        self.is_frozen = True
        freezer.set(freezer.begin)
        pause, held = threading.Event(), []
        for _ in range(1000):
            if freezer.is_frozen():
                break
            pause.wait(0.002)
        for pid in descendants(self.service.pid):
            try:
                with Process(pid, self.service.pid) as process:
                    held += process.peers()
            except Gone:
                pass
        entry = self.note("freeze", held=held)

        def thaw():
            freezer.set(freezer.end)
            self.is_frozen = False
            self.ledger.amend(entry, over=time.monotonic())
        self.later(choice, thaw)

    def stop_now(self, choice):
        """SIGINT to a monitor, where a second one ends its workers: they are stopped until
        it has arrived, so that they take no more."""
        with self.monitor(choice) as monitor:
            workers = []
            for pid in descendants(monitor.pid):
                try:
                    workers.append(Process(pid, monitor.pid))
                except Gone:
                    pass
            try:
                self.interrupt(monitor, workers)
            finally:
                for worker in workers:
                    worker.close()

    def interrupt(self, monitor, workers):
        for process in workers:
            self.unless_gone(process.send, signal.SIGSTOP)
        held = {worker: self.unless_gone(self.held_by, worker) for worker in workers}
        self.note("signal", signal="INT", pid=monitor.pid)
        self.unless_gone(monitor.send, signal.SIGINT)
        # One that is stopped would act on it later, with what else it was sent meanwhile.
        self.unless_gone(monitor.send, signal.SIGCONT)
        pause = threading.Event()
        for _ in range(50):
            pause.wait(0.01)
            if all(self.unless_gone(worker.has_pending, signal.SIGINT) is not False for worker in workers):
                break
        for worker in workers:
            entry = self.note("stop", pid=worker.pid, held=held[worker] or [], by="SIGINT to the monitor")
            self.unless_gone(worker.send, signal.SIGCONT)
            self.ledger.amend(entry, over=time.monotonic())

    @staticmethod
    def held_by(worker):
        return worker.peers() if worker.wait_for_state("TtZX") else []

    @staticmethod
    def unless_gone(act, *words):
        try:
            return act(*words)
        except Gone:
            return None


CALM_THINGS = [
    Torment.signal_main, Torment.signal_main, Torment.forged_ready_signal, Torment.harmless_signal,
    Torment.release, Torment.release, Torment.reload, Torment.restart, Torment.scale, Torment.status,
    Torment.broken_binary, Torment.settings, Torment.bad_settings, Torment.hostile_operators,
    Torment.hostile_notifications, Torment.hanging_descriptor, Torment.deaf_log, Torment.few_descriptors,
    Torment.few_processes, Torment.clock_jump,
]
UNKIND_THINGS = [
    Torment.lethal_signal, Torment.lethal_signal, Torment.lethal_signal, Torment.kill_monitor,
    Torment.stop_for_a_while, Torment.stop_for_a_while, Torment.stop_now, Torment.freeze,
]
