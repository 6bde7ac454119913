"""Panzer: its library, programs of -x, and servers of others as COMMAND.

Its own back-off (--delay 0) is off, since workers are killed as fast as they come back.
PANZER_BIN and HTTP_BIN name the programs.
"""

import os
import shutil
import signal
from pathlib import Path

import processes
from system import HERE, ROOT, System, apt, do, pip, serve_program

MUSL = ROOT / "target/x86_64-unknown-linux-musl/release"


def program(variable, path):
    return str(Path(os.environ.get(variable, MUSL / path)).resolve())


class Panzer(System):
    """With the library."""

    name = "Panzer"
    kind = "server"
    served = "static `examples/http`, which names generation, slot and pid"
    reloaded = "SIGUSR1"
    options = ["--probation", "0"]

    def install(self):
        self.program = program("PANZER_BIN", "panzer")
        self.version = do(self.program, "--version").split()[-1]

    def configure(self):
        shutil.copy(program("HTTP_BIN", "examples/http"), self.room / "app")

    def panzer(self, *words):
        return [self.program, "--delay", "0", *self.options, "-n", self.workers_wanted, *words]

    def command(self):
        return self.panzer("--", "./app", f"127.0.0.1:{self.port}")

    def reload(self):
        self.signal(signal.SIGUSR1)

    def write_version(self, version):
        """Its generations have numbers; what cannot start is another file in the place of it."""
        if not version.isdigit():
            (self.room / "app.new").write_text("#!/bin/sh\nexit 1\n")
            (self.room / "app.new").chmod(0o755)
            (self.room / "app.new").replace(self.room / "app")

    def supervisors(self):
        """Main, and the newest monitor."""
        return [self.child.pid, *processes.children(self.child.pid)[-1:]]


class Probation(Panzer):
    name = "Panzer, probation 1 s"
    options = []
    measures = ("reload", "broken")


class Programs(Panzer):
    """Copies of the C program."""

    name = "Panzer -x"
    kind = "program"
    served = "the C program, 4 copies on one socket"
    options = ["--probation", "0", "--ready", "notify"]
    configure = System.configure
    write_version = System.write_version

    def install(self):
        super().install()
        self.serve = serve_program()

    def command(self):
        return self.panzer("-x", "-b", f"127.0.0.1:{self.port}", "--", self.serve, "fd:3")


class OfPython(Panzer):
    """gunicorn as COMMAND: its arbiter keeps its workers."""

    name = "Panzer, gunicorn"
    kind = "gunicorn"
    served = "gunicorn, as in its own row, with --preload"
    handler = "wsgi.py"
    configure = System.configure
    write_version = System.write_version

    def install(self):
        super().install()
        self.gunicorn = pip("gunicorn", "gunicorn")

    def panzer(self, *words):
        bind = ["-b", f"127.0.0.1:{self.port}"]
        return [self.program, "--delay", "0", *self.options, *bind, "--", *words]

    def command(self):
        return self.panzer(self.gunicorn, "--log-level=warning", "--preload",
                           f"--workers={self.workers_wanted}", "wsgi:app")


class OfRuby(OfPython):
    """unicorn as COMMAND, which is stopped by SIGQUIT."""

    name = "Panzer, unicorn"
    kind = "unicorn"
    served = "unicorn, as in its own row"
    handler = "config.ru"
    options = ["--probation", "0", "--stop-signal", "QUIT"]

    def install(self):
        Panzer.install(self)
        self.unicorn = apt("unicorn", "unicorn")

    def configure(self):
        shutil.copy(HERE / "handlers/unicorn_ready.rb", self.room)

    def command(self):
        return self.panzer(self.unicorn, "-c", "unicorn_ready.rb", "-l", f"127.0.0.1:{self.port}",
                           "config.ru")

    def environment(self):
        return {"UNICORN_FD": "3", "WORKERS": str(self.workers_wanted)}


class OfPuma(OfRuby):
    """puma as COMMAND, with a small file, too."""

    name = "Panzer, puma"
    kind = "puma"
    served = "puma, as in its own row, with preload_app!"
    options = ["--probation", "0"]

    def install(self):
        Panzer.install(self)
        self.puma = apt("puma", "puma")

    def configure(self):
        shutil.copy(HERE / "handlers/puma_ready.rb", self.room)

    def command(self):
        return self.panzer(self.puma, "--quiet", "-C", "puma_ready.rb")

    def environment(self):
        return {"PORT": str(self.port), "WORKERS": str(self.workers_wanted)}


ALL = [Panzer, Probation, Programs, OfPython, OfRuby, OfPuma]
