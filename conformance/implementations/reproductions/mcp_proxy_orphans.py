"""mcp-proxy 0.13.0: SIGTERM ends the proxy and leaves a server that does not end with its input.

MCP 2025-11-25, basic/lifecycle, Shutdown: the client ends a server that does not exit by itself.
"""

import os
import signal

from small_client import Program, command_of, eventually, is_alive, new_folder, report
from small_http import free_port, listens
from small_upstream import read_journal, stdio_command

journal = new_folder() / "journal"
port = free_port()
with Program([*command_of("mcp-proxy"), "--port", str(port), "--", *stdio_command(journal, "stay")]) as proxy:
    listens(port)
    child = read_journal(journal)[0]["pid"]
    proxy.process.terminate()
    ended = proxy.ended(10)
    gone = eventually(lambda: not is_alive(child), 10)
if not gone:
    os.kill(child, signal.SIGKILL)
report(ended and not gone, f"the proxy ended: {ended}; its server ended within ten seconds: {gone}")
