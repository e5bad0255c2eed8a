"""mcp-proxy 0.13.0: a call to a server process that closed its input, and lives on, ends the proxy for all clients."""

import sys

from small_client import Program, command_of, new_folder, report
from small_http import Session, free_port, listens

CLOSES_ITS_INPUT = """
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    if message["method"] == "notifications/initialized":
        os.close(0)
        time.sleep(60)
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
script = new_folder() / "server.py"
script.write_text(CLOSES_ITS_INPUT)
port = free_port()
with Program([*command_of("mcp-proxy"), "--port", str(port), "--", sys.executable, str(script)]) as proxy:
    listens(port)
    session = Session(f"http://127.0.0.1:{port}/mcp")
    session.handshake()
    first = session.call("echo", {"text": "x"})
    second = session.call("echo", {"text": "x"})
    ended = proxy.ended(5)
report(ended, f"two calls returned {first} and {second}; the exit status is {proxy.process.returncode}")
