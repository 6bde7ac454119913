"""uvicorn that closes no connection on which a request may be on its way.

    panzer -x -n 4 -b 127.0.0.1:8000 --ready notify -- python3 uvicorn_serve.py
"""

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

CLOSE = (b"connection", b"close")


class Protocol(AutoHTTPProtocol):
    def shutdown(self):
        """At a stop: the next answer announces the end; an idle connection waits for one."""
        if CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        if self.cycle:
            self.cycle.default_headers = self.server_state.default_headers
        self.loop.call_later(self.timeout_keep_alive, super().shutdown)


if __name__ == "__main__":
    uvicorn.run("app:app", fd=3, http=Protocol, timeout_keep_alive=5, access_log=False)
