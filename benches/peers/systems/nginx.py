"""nginx: the version is in its configuration; SIGHUP to the master reads it again."""

import re

from system import System, apt, do

CONFIG = """
daemon off;
pid {room}/nginx.pid;
error_log {room}/log warn;
worker_processes {workers};
worker_rlimit_nofile 4096;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {room}/body;
  proxy_temp_path {room}/proxy;
  fastcgi_temp_path {room}/fastcgi;
  uwsgi_temp_path {room}/uwsgi;
  scgi_temp_path {room}/scgi;
  map $pid $padded {{
    "~^(?<digits>.......)$" "$digits";
    "~^(?<digits>......)$" " $digits";
    "~^(?<digits>.....)$" "  $digits";
    "~^(?<digits>....)$" "   $digits";
    default "    $pid";
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "{version} $padded"; }}
  }}
}}
"""


class Nginx(System):
    name = "nginx"
    served = "its own `return 200`"
    reloaded = "SIGHUP"

    def install(self):
        self.program = apt("nginx", "nginx-light")
        self.version = re.search(r"nginx/(\S+)", do(self.program, "-v"))[1]

    def write_version(self, version):
        # One that is no number is a word that it does not know.
        text = CONFIG.format(room=self.room, port=self.port, workers=self.workers_wanted,
                             version=version)
        (self.room / "nginx.conf").write_text(text if version.isdigit() else version + text)

    def command(self):
        return [self.program, "-c", self.room / "nginx.conf", "-e", self.room / "log"]


ALL = [Nginx]
