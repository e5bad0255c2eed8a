"""mcp-hub 4.2.1: the death of a server is not noticed while a helper of the server holds its pipes."""

import shlex

from small_client import Program, command_of, new_folder, report
from small_http import free_port
from small_sse import SseSession, hub_is_ready
from small_upstream import stdio_command, write_config

folder = new_folder()
server = f"sleep 60 & exec {shlex.join(stdio_command(folder / 'journal', 'die'))}"
config = write_config(folder / "config.json", {"one": ["sh", "-c", server]})
port = free_port()
with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
    hub_is_ready(port)
    client = SseSession(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    answer = client.call("one__echo", {"text": "dies"}, 15)
report(answer is None, f"the server died in a call, and 15 seconds later the client has the answer {answer}")
