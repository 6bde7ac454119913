"""The application for uvicorn. Its lifespan hook sends READY=1.

uvicorn accepts for up to 0.1 s after SIGTERM, and then closes every connection whose
request it has not read by then, although it may have arrived: the client gets a reset.
This application prints these connections, by the client's port.
"""

import os
import sys

import sdnotify
from uvicorn.protocols.http.h11_impl import H11Protocol

shutdown = H11Protocol.shutdown


def print_and_shutdown(self):
    if self.cycle is None:
        print(f"closed unread: {self.client[1]}", file=sys.stderr, flush=True)
    shutdown(self)


H11Protocol.shutdown = print_and_shutdown


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        body = f"hello from {os.getpid()}\n".encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def lifespan(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            sdnotify.SystemdNotifier(debug=True).notify("READY=1")
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
