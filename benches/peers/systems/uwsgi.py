"""uWSGI: SIGHUP waits for the workers, and executes the master again with its sockets."""

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
                "--need-app", "--listen=100", "--add-header=Connection: close",
                f"--http-socket=127.0.0.1:{self.port}",
                f"--workers={self.workers_wanted}", "--wsgi-file=wsgi.py"]


ALL = [UWSGI]
