"""mcp-hub 4.2.1: a call of an unknown tool ends in an error of its own code, in place of one about the tool."""

from small_client import Program, command_of, new_folder, report
from small_http import free_port
from small_sse import SseSession, hub_is_ready
from small_upstream import stdio_command, write_config

folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal")})
port = free_port()
with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
    hub_is_ready(port)
    client = SseSession(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    error = (client.call("unknown_tool") or {}).get("error", {})
report(error.get("message") == "key is not defined", f"the error: {error}")
