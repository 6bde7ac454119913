"""hypercorn that closes no connection on which a request may be on its way.

    panzer -x -n 4 -b 127.0.0.1:8000 --ready notify -- python3 hypercorn_serve.py
"""

import asyncio
import signal

import hypercorn.asyncio
import hypercorn.config
from app import app


class Config(hypercorn.config.Config):
    bind = ["fd://3"]
    # How long an idle connection waits for its next request, and each stop for last requests.
    keep_alive_timeout = 2
    graceful_timeout = 60
    is_stopping = False

    def create_sockets(self):
        self.sockets = super().create_sockets()
        return self.sockets

    def response_headers(self, protocol):
        close = [(b"connection", b"close")] if self.is_stopping and protocol == "h11" else []
        return super().response_headers(protocol) + close


async def main():
    config, stop, loop = Config(), asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    async def last_orders():
        """Ends when hypercorn may close all that is idle: nothing is accepted any more, and
        each client had its time for a last request."""
        await stop.wait()
        for listener in config.sockets.insecure_sockets:
            loop.remove_reader(listener)
        config.is_stopping = True
        await asyncio.sleep(config.keep_alive_timeout)

    await hypercorn.asyncio.serve(app, config, shutdown_trigger=last_orders)


asyncio.run(main())
