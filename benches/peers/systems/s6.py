"""s6: four services, each with a socket of its own on one port; reloaded one after the other."""

from pathlib import Path

import processes
from system import System, apt, do, serve_program


class S6(System):
    name = "s6"
    kind = "program"
    served = "the C program, 4 services with SO_REUSEPORT"
    reloaded = "`s6-svc -wr -r` for one after the other"

    def install(self):
        self.program = apt("s6-svscan", "s6")
        self.serve = serve_program()
        self.version = do("dpkg-query", "-W", "-f", "${Version}", "s6").strip()

    def services(self):
        return [self.room / f"scan/worker-{number}" for number in range(self.workers_wanted)]

    def configure(self):
        for service in self.services():
            service.mkdir(parents=True)
            (service / "run").write_text(
                f"#!/bin/sh\ncd {self.room} && exec {self.serve} {self.port}\n")
            (service / "run").chmod(0o755)

    def command(self):
        return [self.program, "-c", str(max(40, 2 * self.workers_wanted)), self.room / "scan"]

    def supervisors(self):
        return [self.child.pid, *processes.children(self.child.pid)]

    def workers(self):
        found = [pid for supervisor in self.supervisors()[1:]
                 for pid in processes.children(supervisor)]
        return [pid for pid in found if processes.is_alive(pid) and is_program(pid)]

    def reload(self):
        for service in self.services():
            do("s6-svc", "-wr", "-T10000", "-r", service)


def is_program(pid):
    """Whether it is past the shell that executes the C program."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "serve\n"
    except (FileNotFoundError, ProcessLookupError):
        return False


ALL = [S6]
