"""gunicorn, with sync workers: SIGHUP starts new workers, which load the application; or
SIGUSR2 starts a new master beside the old one, which is told to stop when the new one serves."""

import os
import signal

import processes
from system import Failed, System, do, pip


class Gunicorn(System):
    name = "gunicorn"
    served = "WSGI, sync workers"
    reloaded = "SIGHUP"
    handler = "wsgi.py"
    kind = "gunicorn"

    def install(self):
        self.program = pip("gunicorn", "gunicorn")
        self.version = do(self.program, "--version").split()[-1].rstrip(")")

    def command(self):
        return [self.program, "--log-level=warning", f"--workers={self.workers_wanted}",
                f"--bind=127.0.0.1:{self.port}", "--pid=pid", "wsgi:app"]


class GunicornMaster(Gunicorn):
    name = "gunicorn, new master"
    measures = ("reload", "broken")
    reloaded = "SIGUSR2, then SIGTERM to the old master when the new one has its workers"

    def command(self):
        return [*super().command()[:-1], "--preload", "wsgi:app"]

    def supervisors(self):
        pid = self.room / "pid"
        return [int(pid.read_text()) if pid.exists() else self.child.pid]

    def write_version(self, version):
        super().write_version(version)
        # It may look only once a second whether it is the only master.
        self.wait_until(lambda: not (self.room / "pid.2").exists(), 10, "the end of a reload")

    def reload(self):
        old = self.supervisors()[0]
        os.kill(old, signal.SIGUSR2)
        try:
            self.wait_until(self.has_new_master, 20, "a new master with its workers")
        except Failed:
            return  # It could not start: the old one is left alone.
        os.kill(old, signal.SIGTERM)

    def has_new_master(self):
        new = self.room / "pid.2"
        return new.exists() and len(processes.children(int(new.read_text()))) >= self.workers_wanted


ALL = [Gunicorn, GunicornMaster]
