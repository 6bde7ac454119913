#!/usr/bin/env python3
"""A server that knows nothing of Panzer, but for what any service manager knows.

    panzer -x -n 4 -b 127.0.0.1:8000 -- python3 examples/hello.py

Each worker is one such process. It takes its socket from LISTEN_FDS, says that
it is ready at NOTIFY_SOCKET, and when it is sent SIGTERM it finishes what it has
in hand and leaves. Started by itself it serves too, on 127.0.0.1:8000.
"""

import os
import select
import signal
import socket

# Who sends nothing for so long, in seconds, is not waited for any more.
PATIENCE = 10


def listener():
    """The socket that was handed down, as sd_listen_fds(3) says, or our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") != "0":
        return socket.socket(fileno=3)
    return socket.create_server(("127.0.0.1", 8000))


def say_ready():
    """READY=1 to whoever wants to know, as sd_notify(3) says."""
    name = os.environ.get("NOTIFY_SOCKET")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", name.replace("@", "\0", 1))


def serve(connection):
    """Answers one request. Only what was read to its end may be closed: what is
    left unread would have the kernel take back the answer too."""
    connection.settimeout(PATIENCE)
    request = b""
    while b"\r\n\r\n" not in request and len(request) < 65536:
        piece = connection.recv(4096)
        if not piece:
            return
        request += piece
    body = f"hello from {os.getpid()}\n"
    connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def main():
    stop = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    # A signal between the look at `stop` and the wait is a byte in this pipe.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    queue = listener()
    # Another worker may be faster: then there is nothing to accept after all.
    queue.setblocking(False)
    waiting = select.poll()
    waiting.register(queue, select.POLLIN)
    waiting.register(woken, select.POLLIN)
    say_ready()
    while not stop:
        waiting.poll()
        try:
            connection, _ = queue.accept()
        except OSError:
            continue
        with connection:
            try:
                serve(connection)
            except OSError:
                pass  # It is the client that is gone.


if __name__ == "__main__":
    main()
