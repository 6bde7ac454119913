"""runit: four services, each with a socket of its own on one port; reloaded one after the other."""

from system import apt, do, serve_program

from .s6 import S6


class Runit(S6):
    name = "runit"
    reloaded = "`sv restart` for one after the other"

    def install(self):
        self.program = apt("runsvdir", "runit")
        self.serve = serve_program()
        self.version = do("dpkg-query", "-W", "-f", "${Version}", "runit").strip()

    def command(self):
        return [self.program, "-P", self.room / "scan"]

    def reload(self):
        for service in self.services():
            do("sv", "-w", "10", "restart", service)


ALL = [Runit]
