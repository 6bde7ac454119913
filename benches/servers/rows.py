"""The servers: how each is installed, and the command lines that are tried."""

import importlib.machinery
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GLUE = ROOT / "examples/servers"
ROOM = ROOT / "target/servers"


@dataclass
class Row:
    title: str
    command: str
    # What a release consists of: texts, or the files that they are copied from.
    files: dict
    # What is different in the broken release.
    broken: dict
    # It is known to lose requests when it is reloaded.
    loses: bool = False
    # It speaks FastCGI: an nginx stands before it.
    is_fastcgi: bool = False


def do(*words, **more):
    """Runs a command to its end; raises an exception with its output if it fails."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=900, **more)
    if done.returncode:
        call = " ".join([Path(words[0]).name, *map(str, words[1:])])
        raise RuntimeError(f"{call}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def pip(*packages):
    """Installs packages of Python; their programs are below ROOM/bin."""
    if not (ROOM / "bin/pip").exists():
        do(sys.executable, "-m", "venv", ROOM)
    do(ROOM / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages)


def apt(programs):
    """Installs the packages of Debian's whose programs are not there."""
    missing = [package for name, package in programs.items() if not shutil.which(name)]
    if missing:
        do("apt-get", "update", "-qq")
        do("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing,
           env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def packages(*names):
    """Installs these packages of Debian's, which have no program of their name."""
    if subprocess.run(["dpkg", "-s", *names], capture_output=True).returncode:
        do("apt-get", "update", "-qq")
        do("apt-get", "install", "-y", "-qq", "--no-install-recommends", *names,
           env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def tests():
    """tests/servers/run as a module: it knows how a puma of these years is had."""
    path = str(ROOT / "tests/servers/run")
    spec = importlib.util.spec_from_loader("tests", importlib.machinery.SourceFileLoader("tests", path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def version(*words):
    """The first thing in the output of a command that looks like a version."""
    return re.search(r"\d+(\.\d+)+", do(*words))[0]


BEGIN = "panzer -b 127.0.0.1:8000"
COPIES = f"{BEGIN} -x -n 2"
PYTHON = {"app.py": "raise RuntimeError('a broken release')\n"}


def gunicorn():
    pip("gunicorn")
    title, files = f"gunicorn {version(ROOM / 'bin/gunicorn', '--version')}", {"app.py": GLUE / "wsgi.py"}
    yield Row(title, f"{BEGIN} -- gunicorn --preload -w 2 app:app", files, PYTHON)
    yield Row(title, f"{BEGIN} -- gunicorn --preload -w 2 --threads 4 app:app", files, PYTHON)
    yield Row(title, f"{BEGIN} --probation 5 -- gunicorn -w 2 app:app", files, PYTHON)
    yield Row(title, f"{COPIES} --ready notify -- gunicorn --preload --no-control-socket app:app", files, PYTHON)


def uvicorn():
    pip("uvicorn")
    title = f"uvicorn {version(ROOM / 'bin/uvicorn', '--version')}"
    files = {"app.py": GLUE / "asgi.py", "uvicorn_serve.py": GLUE / "uvicorn_serve.py"}
    yield Row(title, f"{COPIES} --ready notify -- uvicorn --fd 3 --no-access-log app:app", files, PYTHON, loses=True)
    yield Row(title, f"{COPIES} --ready notify -- python3 uvicorn_serve.py", files, PYTHON)


def hypercorn():
    pip("hypercorn")
    title = f"hypercorn {version(ROOM / 'bin/pip', 'show', 'hypercorn')}"
    files = {"app.py": GLUE / "asgi.py", "hypercorn_serve.py": GLUE / "hypercorn_serve.py"}
    yield Row(title, f"{COPIES} --ready notify -- hypercorn --bind fd://3 app:app", files, PYTHON, loses=True)
    yield Row(title, f"{COPIES} --ready notify -- python3 hypercorn_serve.py", files, PYTHON)


def granian():
    pip("granian")
    title = f"granian {version(ROOM / 'bin/granian', '--version')}"
    files = {"app.py": GLUE / "asgi.py", "granian_serve.py": GLUE / "granian_serve.py"}
    yield Row(title, "panzer --ready 3 --probation 1 -- granian --interface asgi --port 8000 --workers 2 app:app",
              files, PYTHON, loses=True)
    yield Row(title, f"{BEGIN} -- python3 granian_serve.py", files, PYTHON, loses=True)


def node():
    apt({"node": "nodejs", "systemd-notify": "systemd"})
    title = f"Node {version('node', '--version')}"
    broken = {"server.js": "throw new Error('a broken release');\n"}
    files = {name: GLUE / name for name in ("server.js", "cluster.js")}
    plain = {"server.js": PLAIN_JS}
    yield Row(f"{title}, no handler of SIGTERM", f"{COPIES} --ready notify -- node server.js", plain, broken, loses=True)
    yield Row(title, f"{COPIES} --ready notify -- node server.js", files, broken)
    yield Row(f"{title}, cluster", f"{BEGIN} -- node cluster.js", files, broken)


PLAIN_JS = """const { execFile } = require('child_process');
require('http').createServer((_, response) => response.end(`hello from ${process.pid}\\n`))
  .listen({ fd: 3 }, () => execFile('systemd-notify', ['--ready']));
"""


def puma():
    apt({"ruby": "ruby", "dpkg-source": "dpkg-dev", "make": "make", "gcc": "gcc"})
    packages("ruby-dev", "ruby-nio4r", "ruby-rack")
    wrapper = ROOM / "bin/puma"
    if not wrapper.exists():
        # What an installation that was cut short has left.
        shutil.rmtree(ROOM / "puma", ignore_errors=True)
        words = tests().Room.puma(SimpleNamespace(path=ROOM))
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f"#!/bin/sh\nexec {' '.join(words)} \"$@\"\n")
        wrapper.chmod(0o755)
    title = f"puma {version(wrapper, '--version')}"
    files = {"config.ru": GLUE / "config.ru", "puma.rb": GLUE / "puma.rb"}
    broken = {"config.ru": "raise 'a broken release'\n"}
    yield Row(title, f"{BEGIN} -- puma -q -w 2 --preload -b tcp://127.0.0.1:8000 config.ru", files, broken, loses=True)
    yield Row(title, f"{BEGIN} -- puma -q -C puma.rb", files, broken)


def unicorn():
    apt({"unicorn": "unicorn"})
    title = f"unicorn {version('unicorn', '--version')}"
    files = {"config.ru": GLUE / "config.ru", "unicorn.rb": GLUE / "unicorn.rb"}
    broken = {"config.ru": "raise 'a broken release'\n"}
    yield Row(title, f"{BEGIN} -- unicorn -c unicorn.rb config.ru", files, broken, loses=True)
    yield Row(title, f"{BEGIN} --stop-signal QUIT -- unicorn -c unicorn.rb config.ru", files, broken)


def php_fpm():
    apt({"php-fpm8.2": "php8.2-fpm", "nginx": "nginx-light"})
    title, command = f"php-fpm {version('php-fpm8.2', '--version')}", \
        "-- env FPM_SOCKETS=127.0.0.1:8000=3 php-fpm8.2 -F -y php-fpm.conf"
    files = {"php-fpm.conf": GLUE / "php-fpm.conf", "index.php": '<?php echo "hello from ", getmypid(), "\\n";'}
    broken = {"php-fpm.conf": "[www]\nlisten = 127.0.0.1:8000\npm = broken\n"}
    yield Row(title, f"{BEGIN} {command}", files, broken, is_fastcgi=True, loses=True)
    yield Row(title, f"{BEGIN} --stop-signal QUIT {command}", files, broken, is_fastcgi=True)


def nginx():
    apt({"nginx": "nginx-light"})
    title = f"nginx {version('nginx', '-v')}"
    files = {"nginx.conf": GLUE / "nginx.conf", "nginx.sh": GLUE / "nginx.sh"}
    no_keep = {**files, "nginx.conf": files["nginx.conf"].read_text().replace(
        "    access_log off;", "    access_log off;\n    keepalive_timeout 0;")}
    broken = {"nginx.conf": "broken;\n"}
    yield Row(title, f"{BEGIN} -- ./nginx.sh", files, broken, loses=True)
    yield Row(title, f"{BEGIN} --stop-signal QUIT -- ./nginx.sh", files, broken, loses=True)
    yield Row(f"{title}, `keepalive_timeout 0`", f"{BEGIN} --stop-signal QUIT -- ./nginx.sh", no_keep, broken)


def go():
    apt({"go": "golang-go"})
    program = ROOM / "go/server"
    program.parent.mkdir(parents=True, exist_ok=True)
    do("go", "build", "-o", program, GLUE / "server.go")
    title, files = f"Go {version('go', 'version')}", {"server": program}
    broken = {"server": "#!/bin/sh\necho 'a broken release' >&2\nexit 1\n"}
    yield Row(title, f"{BEGIN} -- ./server", files, broken)
    yield Row(title, f"{COPIES} --ready notify -- ./server", files, broken)


def java():
    apt({"javac": "default-jdk-headless", "systemd-notify": "systemd"})
    classes = ROOM / "java"
    classes.mkdir(parents=True, exist_ok=True)
    do("javac", "-d", classes, GLUE / "Server.java")
    title, files = f"Java {version('java', '-version')}", {"Server.class": classes / "Server.class"}
    yield Row(title, f"{COPIES} --ready notify -- sh -c 'exec java -cp . Server <&3'", files,
              {"Server.class": "a broken release"})


def script():
    files = {"script.sh": GLUE / "script.sh", "server.py": ROOT / "examples/hello.py"}
    broken = {"server.py": "a broken release\n"}
    yield Row("a shell script", f"{BEGIN} -- ./script.sh", files, broken)


SERVERS = {
    "gunicorn": gunicorn,
    "uvicorn": uvicorn,
    "hypercorn": hypercorn,
    "granian": granian,
    "puma": puma,
    "unicorn": unicorn,
    "node": node,
    "php-fpm": php_fpm,
    "nginx": nginx,
    "go": go,
    "java": java,
    "script": script,
}
