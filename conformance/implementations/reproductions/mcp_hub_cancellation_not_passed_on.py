"""mcp-hub 4.2.1: the cancellation of a call does not reach the server, which works on."""

import time

from small_client import Program, command_of, new_folder, report
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
    call = {"name": "one__slow", "arguments": {"seconds": 5}}
    client.post({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": call})
    time.sleep(2)
    client.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}})
    time.sleep(2)
    methods = [entry.get("method") for entry in read_journal(folder / "journal")]
cancelled = "notifications/cancelled" in methods
report("tools/call" in methods and not cancelled, f"the server got the call, and a cancellation: {cancelled}")
