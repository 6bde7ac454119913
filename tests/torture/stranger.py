"""Sends a message to a notify socket, as another user, some with a descriptor.

usage: stranger.py SOCKET TEXT UID COUNT
"""

import array
import os
import socket
import sys

name, text, uid, count = sys.argv[1:]
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
out.setblocking(False)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", os.pipe()))]
try:
    # Only root finds the way there.
    out.connect(name.replace("@", "\0", 1) if name.startswith("@") else name)
    os.setuid(int(uid))
    for number in range(int(count)):
        out.sendmsg([text.encode()], rights if number % 3 == 0 else [])
except OSError:
    pass  # Its generation is over, or its queue is full.
