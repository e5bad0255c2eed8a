"""mcp-hub 4.2.1: a server is lost when the command that started it exits, although the server itself uses the pipes."""

import shlex

from small_client import Program, command_of, eventually, new_folder, report, text_of
from small_http import free_port
from small_sse import SseSession, hub_is_ready
from small_upstream import stdio_command, write_config

folder = new_folder()
server = f"exec 3<&0; {shlex.join(stdio_command(folder / 'journal'))} <&3 & exit 0"
config = write_config(folder / "config.json", {"one": ["sh", "-c", server]})
port = free_port()
with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
    hub_is_ready(port)
    client = SseSession(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    works = eventually(lambda: text_of(client.call("one__echo", {"text": "x"})) == "x", 15)
    said = text_of(client.call("one__echo", {"text": "x"}))
report(not works, f"15 seconds after its start a call gets: {said}")
