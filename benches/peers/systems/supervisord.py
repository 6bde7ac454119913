"""supervisord: four processes on one socket, which it keeps as `fcgi-program`; restarted one
after the other."""

from system import System, apt, do, serve_program

CONFIG = """
[supervisord]
nodaemon=true
logfile={room}/supervisord.log
pidfile={room}/supervisord.pid
minfds=8192
[unix_http_server]
file={room}/control
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{room}/control
[fcgi-program:web]
socket=tcp://127.0.0.1:{port}
socket_backlog=4096
command={serve} fd:0
process_name=web-%(process_num)d
numprocs={workers}
directory={room}
"""


class Supervisord(System):
    name = "supervisord"
    kind = "program"
    served = "the C program, 4 copies on one socket (`fcgi-program`)"
    reloaded = "`supervisorctl restart` for one after the other"

    def install(self):
        self.program = apt("supervisord", "supervisor")
        self.control = apt("supervisorctl", "supervisor")
        self.serve = serve_program()
        self.version = do(self.program, "--version").strip()

    def configure(self):
        (self.room / "supervisord.conf").write_text(CONFIG.format(
            room=self.room, port=self.port, serve=self.serve, workers=self.workers_wanted))

    def command(self):
        return [self.program, "-c", self.room / "supervisord.conf"]

    def reload(self):
        for number in range(self.workers_wanted):
            do(self.control, "-c", self.room / "supervisord.conf", "restart", f"web:web-{number}")


ALL = [Supervisord]
