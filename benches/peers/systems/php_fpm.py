"""php-fpm behind an nginx that is never reloaded: a 502 of that is a loss of php-fpm's. SIGUSR2
executes the master again with its sockets; the version is in its configuration."""

import re
import signal
import subprocess

from system import System, accepts, apt, do, free_port

FPM = """
[global]
error_log = {room}/log
log_level = warning
daemonize = no
process_control_timeout = 10
[www]
user = www-data
listen = 127.0.0.1:{port}
listen.backlog = 4096
pm = static
pm.max_children = {workers}
env[VERSION] = {version}
"""

FRONT = """
daemon off;
pid {room}/nginx.pid;
error_log {room}/nginx.log crit;
worker_processes 1;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path {room}/body;
  proxy_temp_path {room}/proxy;
  fastcgi_temp_path {room}/fastcgi;
  uwsgi_temp_path {room}/uwsgi;
  scgi_temp_path {room}/scgi;
  server {{
    listen 127.0.0.1:{front} backlog=4096;
    location / {{
      fastcgi_pass 127.0.0.1:{port};
      fastcgi_param REQUEST_METHOD GET;
      fastcgi_param SCRIPT_FILENAME {room}/index.php;
    }}
  }}
}}
"""


class PhpFpm(System):
    name = "php-fpm"
    served = "PHP, behind one nginx that is not measured"
    reloaded = "SIGUSR2"
    kind = "php"
    handler = "index.php"
    front = backend = None

    def install(self):
        self.program = apt("php-fpm8.2", "php8.2-fpm")
        self.nginx = apt("nginx", "nginx-light")
        self.version = re.search(r"PHP (\S+)", do(self.program, "-v"))[1]

    def write_version(self, version):
        text = FPM.format(room=self.room, port=self.backend or self.port,
                          workers=self.workers_wanted, version=version)
        (self.room / "fpm.conf").write_text(text if version.isdigit() else text + "unknown = 1\n")

    def command(self):
        return [self.program, "--nodaemonize", "--fpm-config", self.room / "fpm.conf"]

    def start(self, workers=4, limit=60.0):
        self.backend = None
        super().start(workers, limit)
        # From here on clients ask the nginx.
        self.backend, self.port = self.port, free_port()
        (self.room / "nginx.conf").write_text(
            FRONT.format(room=self.room, port=self.backend, front=self.port))
        self.front = subprocess.Popen([self.nginx, "-c", self.room / "nginx.conf", "-e",
                                       self.room / "nginx.log"], cwd=self.room,
                                      stdin=subprocess.DEVNULL, start_new_session=True)
        self.wait_until(lambda: accepts(self.port), 20, "nginx before it")

    def every(self, without=()):
        return super().every([*without, self.front.pid])

    def listening_port(self):
        return self.backend

    def reload(self):
        self.signal(signal.SIGUSR2)


ALL = [PhpFpm]
