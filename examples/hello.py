#!/usr/bin/env python3
"""A server without the library, as for any service manager.

    panzer -x -n 4 -b 127.0.0.1:8000 -- python3 examples/hello.py

Each worker is one such process. It takes its socket from LISTEN_FDS, sends READY=1 to
NOTIFY_SOCKET, and at SIGTERM it finishes its request and exits. Started alone it serves
too, on 127.0.0.1:8000.
"""

import os
import select
import signal
import socket

# A client that sends nothing for so many seconds is disconnected.
TIMEOUT = 10


def listener():
    """The inherited socket, as in sd_listen_fds(3), or a new one."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") != "0":
        return socket.socket(fileno=3)
    return socket.create_server(("127.0.0.1", 8000))


def say_ready():
    """Sends READY=1 as in sd_notify(3), if there is a NOTIFY_SOCKET."""
    name = os.environ.get("NOTIFY_SOCKET")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + name[1:] if name.startswith("@") else name)


def serve(connection):
    """Answers one request. The request must be read to its end before the connection is
    closed: with unread bytes the kernel resets it, and the answer may be lost."""
    connection.settimeout(TIMEOUT)
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
    # A signal between the check of `stop` and the wait leaves a byte in this pipe.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    queue = listener()
    # Another worker may be faster: then accept must not block.
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
                pass  # The client has hung up.


if __name__ == "__main__":
    main()
