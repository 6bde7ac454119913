"""The handler for servers of Python: 12 bytes, the version and the pid."""

import os

VERSION = int(open("version").read())


def app(environ, start_response):
    body = b"%04d %7d" % (VERSION, os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [body]


application = app
