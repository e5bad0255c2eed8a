"""mcp-proxy 0.13.0: a server that cannot start ends the proxy, and with it the good one (sparfenyuk/mcp-proxy issue 198)."""

from small_client import Program, command_of, new_folder, report
from small_http import free_port, listens
from small_upstream import stdio_command, write_config

folder = new_folder()
config = write_config(
    folder / "config.json", {"good": stdio_command(folder / "journal"), "bad": ["/does/not/exist"]}
)
port = free_port()
with Program([*command_of("mcp-proxy"), "--port", str(port), "--named-server-config", config]) as proxy:
    ended = proxy.ended(20)
    status = proxy.process.returncode
report(ended and not listens(port, 1), f"with one bad server the proxy ended: {ended}, status {status}")
