"""mcp-hub 4.2.1: the progress token of a call is dropped, so the client gets no progress."""

from small_client import Program, command_of, new_folder, report
from small_http import free_port
from small_sse import SseSession, hub_is_ready
from small_upstream import read_journal, stdio_command, write_config

folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal", "progress")})
port = free_port()
with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
    hub_is_ready(port)
    client = SseSession(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    call = {"name": "one__echo", "arguments": {"text": "x"}, "_meta": {"progressToken": "token"}}
    answer = client.request("tools/call", call)
    got = [message for message in client.messages if message.get("method") == "notifications/progress"]
calls = [entry for entry in read_journal(folder / "journal") if entry.get("method") == "tools/call"]
tokens = [call["params"].get("_meta", {}).get("progressToken") for call in calls]
report(
    answer is not None and tokens == [None] and not got,
    f"tokens that the server got: {tokens}; notifications: {got}",
)
