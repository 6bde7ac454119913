"""unicorn: SIGUSR2 starts a new master beside the old one, whose last worker stops the old
one, as in the example of its authors."""

import os
import re
import signal

from system import System, apt, do

CONFIG = """
worker_processes {workers}
listen "127.0.0.1:{port}", backlog: 4096
pid "{room}/pid"
preload_app true
before_fork do |server, worker|
  old = "#{{server.config[:pid]}}.oldbin"
  if worker.nr == server.worker_processes - 1 && File.exist?(old)
    begin
      Process.kill(:QUIT, Integer(File.read(old)))
    rescue Errno::ENOENT, Errno::ESRCH
    end
  end
end
"""


class Unicorn(System):
    name = "unicorn"
    served = "Rack"
    reloaded = "SIGUSR2; the last new worker sends the old master SIGQUIT"
    kind = "unicorn"
    handler = "config.ru"

    def install(self):
        self.program = apt("unicorn", "unicorn")
        self.version = re.search(r"v(\S+)", do(self.program, "--version"))[1]

    def configure(self):
        text = CONFIG.format(room=self.room, port=self.port, workers=self.workers_wanted)
        (self.room / "unicorn.rb").write_text(text)

    def command(self):
        return [self.program, "-c", "unicorn.rb", "config.ru"]

    def supervisors(self):
        pid = self.room / "pid"
        return [int(pid.read_text()) if pid.exists() else self.child.pid]

    def reload(self):
        os.kill(self.supervisors()[0], signal.SIGUSR2)


ALL = [Unicorn]
