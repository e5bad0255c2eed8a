"""FastMCP 4.2.3: SIGTERM ends the proxy and leaves a server that does not end with its input.

MCP 2025-11-25, basic/lifecycle, Shutdown: the client ends a server that does not exit by itself.
"""

import os
import signal

from small_client import Program, command_of, eventually, is_alive, new_folder, report
from small_upstream import read_journal, stdio_command, write_config

folder = new_folder()
journal = folder / "journal"
config = write_config(folder / "config.json", {"one": stdio_command(journal, "stay")})
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    proxy.handshake()
    child = read_journal(journal)[0]["pid"]
    proxy.process.terminate()
    ended = proxy.ended(10)
    gone = eventually(lambda: not is_alive(child), 10)
if not gone:
    os.kill(child, signal.SIGKILL)
report(ended and not gone, f"the proxy ended: {ended}; its server ended within ten seconds: {gone}")
