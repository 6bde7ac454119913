"""uWSGI: SIGHUP waits for the workers, and executes the master again with its sockets."""

from pathlib import Path

from system import System, apt, do


class UWSGI(System):
    name = "uWSGI"
    served = "WSGI, `--http-socket`"
    reloaded = "SIGHUP"
    kind = "uWSGI"
    handler = "wsgi.py"

    def install(self):
        self.program = apt("uwsgi", "uwsgi-core", "uwsgi-plugin-python3")
        self.version = do(self.program, "--version").split()[0]

    def command(self):
        return [self.program, "--plugin=python3", "--master", "--die-on-term", "--disable-logging",
                "--need-app", "--add-header=Connection: close", f"--listen={backlog()}",
                f"--http-socket=127.0.0.1:{self.port}",
                f"--workers={self.workers_wanted}", "--wsgi-file=wsgi.py"]


def backlog():
    """As long as the kernel allows, as others have it; a longer one it refuses."""
    return min(4096, int(Path("/proc/sys/net/core/somaxconn").read_text()))


ALL = [UWSGI]
