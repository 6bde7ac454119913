"""HAProxy: master and one worker of four threads; SIGUSR2 to the master reads the file again."""

import re
import signal

from system import System, apt, do

CONFIG = """
global
  nbthread 4
  master-worker no-exit-on-failure
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port} backlog 4096
  http-request return status 200 content-type text/plain lf-string "{version} %pid"
"""


class HAProxy(System):
    name = "HAProxy"
    served = "its own `http-request return`, 4 threads in 1 worker"
    reloaded = "SIGUSR2"
    no_thousand = "its workers are threads"

    def install(self):
        self.program = apt("haproxy", "haproxy")
        self.version = re.search(r"version (\S+)", do(self.program, "-v"))[1]

    def write_version(self, version):
        text = CONFIG.format(port=self.port, version=version)
        (self.room / "haproxy.cfg").write_text(text if version.isdigit() else version + text)

    def start(self, workers=4, limit=60.0):
        super().start(1, limit)

    def command(self):
        return [self.program, "-W", "-f", self.room / "haproxy.cfg"]

    def reload(self):
        self.signal(signal.SIGUSR2)


ALL = [HAProxy]
