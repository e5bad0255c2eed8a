"""mcp-hub 4.2.1: a server process that died is not started again, also for a new client."""

import os
import signal

from small_client import Program, command_of, eventually, new_folder, report, text_of
from small_http import free_port
from small_sse import SseSession, hub_is_ready
from small_upstream import read_journal, stdio_command, write_config

folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal")})
port = free_port()
with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
    hub_is_ready(port)
    client = SseSession(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    first = text_of(client.call("one__echo", {"text": "before"}))
    os.kill(read_journal(folder / "journal")[0]["pid"], signal.SIGKILL)
    another = SseSession(f"http://127.0.0.1:{port}/mcp")
    another.handshake()
    eventually(lambda: text_of(another.call("one__echo", {"text": "after"})) == "after", 15)
    later = text_of(another.call("one__echo", {"text": "after"}))
report(first == "before" and later != "after", f"15 seconds after the crash a new client gets: {later}")
