#!/usr/bin/env python3
"""An RPC runtime that is not ours: impacket's server on a free port of 127.0.0.1, or where told.

usage: rpc_server.py INTERFACE VERSION [ADDRESS PORT]
       e.g. 51c82175-844e-4750-b0d8-ec255555bc06 1.0

Registers the interface without any operation, so that binds are answered and every request gets a
fault. Prints the port once it listens, and serves one connection at a time until it is killed.
"""

import logging
import sys

from impacket import LOG
from impacket.dcerpc.v5.rpcrt import DCERPCServer

LOG.setLevel(logging.CRITICAL)
server = DCERPCServer()
if len(sys.argv) > 3:
    server._listenPort = int(sys.argv[4])  # setListenPort() would bind 127.0.0.1
    server.setListenAddress(sys.argv[3])
port = server.getListenPort()
server.addCallbacks((sys.argv[1], sys.argv[2]), str(port), {})
server._sock.listen(10)  # start() would listen only some time after the port is printed
print(port, flush=True)
server.run()
