"""puma as a cluster: SIGUSR1 replaces its workers one by one, which load the application."""

import re
import signal

from system import System, apt, do


class Puma(System):
    name = "puma"
    served = "Rack, 1 thread a worker"
    reloaded = "SIGUSR1, the phased restart"
    kind = "puma"
    handler = "config.ru"

    def install(self):
        self.program = apt("puma", "puma")
        self.version = re.search(r"version (\S+)", do(self.program, "--version"))[1]

    def command(self):
        return [self.program, "--quiet", "--bind", f"tcp://127.0.0.1:{self.port}",
                "--workers", self.workers_wanted, "--threads", "1:1", "config.ru"]

    def reload(self):
        self.signal(signal.SIGUSR1)


ALL = [Puma]
