#!/bin/sh
# nginx says nothing when it is ready: a configuration without errors is.
nginx -q -t -p . -c nginx.conf || exit 1
kill -VTALRM $PPID
NGINX='3;' exec nginx -p . -c nginx.conf
