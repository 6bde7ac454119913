"""granian on the socket of LISTEN_FDS. It binds a socket of its own otherwise, whose queue is
lost at each stop. Uses what granian keeps to itself: tried with version 2.8.

    panzer -b 127.0.0.1:8000 -- python3 granian_serve.py
"""

import multiprocessing
import threading

import granian
from granian._granian import SocketHolder
from granian.constants import Interfaces

from app import app, say_ready

# How long each stop waits for the last requests of idle connections, in seconds.
KEEP_ALIVE = 2
stopping = multiprocessing.Value("b", 0)


async def last_orders(scope, receive, send):
    """The application; at a stop its answers announce the end of their connections."""

    async def send_close(message):
        if stopping.value and message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    await app(scope, receive, send_close)


class Server(granian.Granian):
    def _init_shared_socket(self):
        self._ssp, self._shd, self._sso = None, SocketHolder(3, False, 1024), None

    def signal_handler_interrupt(self, *_):
        stopping.value = 1
        threading.Timer(KEEP_ALIVE, super().signal_handler_interrupt).start()


if __name__ == "__main__":
    # The module that the workers import, too: it has the `stopping` that they see.
    from granian_serve import Server

    server = Server("granian_serve:last_orders", interface=Interfaces.ASGINL, workers=2)
    server.on_startup(say_ready)
    server.serve()
