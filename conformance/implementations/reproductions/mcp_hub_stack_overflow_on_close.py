"""mcp-hub 4.2.1: closing the session of a client recurses until the stack is full (ravitemer/mcp-hub issue 144)."""

from small_client import Program, command_of, new_folder, report, text_of
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
    text = text_of(client.call("one__echo", {"text": "x"}))
    hub.process.terminate()
    ended = hub.ended(15)
    count = hub.stderr().count("Maximum call stack size exceeded")
report(
    text == "x" and count > 0,
    f"the hub ended: {ended}; the end of its log names the full stack {count} times",
)
