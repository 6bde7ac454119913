#!/bin/sh
# What has to be done before a server starts, in the place of the first line.
python3 -m py_compile server.py || exit 1
kill -VTALRM $PPID
exec python3 server.py
