"""A server on descriptor 3 that finishes its request at SIGTERM and exits. With the
argument `sdnotify` it sends READY=1 through that package, else not at all."""

import os
import select
import signal
import socket
import sys


def serve(connection):
    connection.settimeout(10)
    request = b""
    while b"\r\n\r\n" not in request:
        piece = connection.recv(4096)
        if not piece:
            return
        request += piece
    body = f"hello from {os.getpid()}\n".encode()
    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def main():
    stop = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    queue = socket.socket(fileno=3)
    queue.setblocking(False)
    waiting = select.poll()
    waiting.register(queue, select.POLLIN)
    waiting.register(woken, select.POLLIN)
    if sys.argv[1:] == ["sdnotify"]:
        import sdnotify
        sdnotify.SystemdNotifier(debug=True).notify("READY=1")
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


main()
