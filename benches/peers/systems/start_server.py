"""start_server (Server::Starter) over plackup with Starlet: SIGHUP starts a second server."""

import processes
from system import System, apt, do


class StartServer(System):
    name = "start_server"
    served = "PSGI, plackup with Starlet"
    reloaded = "SIGHUP"
    kind = "perl"
    handler = "app.psgi"

    def install(self):
        self.program = apt("start_server", "libserver-starter-perl", "starlet")
        self.plackup = apt("plackup", "starlet")
        do("perl", "-MStarlet", "-e", "1")
        self.version = do("perl", "-MServer::Starter", "-e", "print $Server::Starter::VERSION")

    def command(self):
        return [self.program, f"--port=127.0.0.1:{self.port}", "--signal-on-hup=TERM",
                "--signal-on-term=TERM", "--", self.plackup, "-E", "production", "-s", "Starlet",
                f"--max-workers={self.workers_wanted}", "app.psgi"]

    def supervisors(self):
        """start_server, and the newest of its servers."""
        return [self.child.pid, *processes.children(self.child.pid)[-1:]]


ALL = [StartServer]
