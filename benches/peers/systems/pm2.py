"""pm2 in cluster mode: `pm2 reload` replaces the workers, each when it has said `ready`."""

import json
import os
from pathlib import Path

from system import System, do, npm


class Pm2(System):
    name = "pm2"
    kind = "node"
    served = "node, `http`"
    reloaded = "`pm2 reload`"
    handler = "server.js"
    no_thousand = "not tried: a thousand node processes need more memory than this machine has"

    def install(self):
        self.program = npm("pm2", "pm2")
        module = Path(self.program).resolve().parent.parent / "package.json"
        self.version = json.loads(module.read_text())["version"]

    def environment(self):
        return {"PM2_HOME": str(self.room / "home"), "PORT": str(self.port)}

    def configure(self):
        application = {"name": "web", "script": "server.js", "exec_mode": "cluster",
                       "instances": self.workers_wanted, "wait_ready": True, "kill_timeout": 10_000}
        (self.room / "apps.json").write_text(json.dumps({"apps": [application]}))

    def command(self):
        return [self.program, "start", "apps.json", "--no-daemon"]

    def pm2(self, *words):
        return do(self.program, *words, cwd=self.room, env=os.environ | self.environment())

    def supervisors(self):
        pid = self.room / "home/pm2.pid"
        return [int(pid.read_text()) if pid.exists() and pid.read_text() else self.child.pid]

    def reload(self):
        self.pm2("reload", "web")


ALL = [Pm2]
