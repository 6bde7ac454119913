#!/bin/sh
# A server that sends no message, and a script that sends READY=1 before it starts.
systemd-notify --ready || exit 1
exec "$1" hello.py
