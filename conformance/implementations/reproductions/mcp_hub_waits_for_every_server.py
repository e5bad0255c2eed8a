"""mcp-hub 4.2.1: while one server does not answer its handshake, the tools of the others are not listed."""

from small_client import Program, command_of, eventually, new_folder, report
from small_http import free_port, listens
from small_sse import SseSession
from small_upstream import read_journal, stdio_command, write_config

folder = new_folder()
servers = {"good": stdio_command(folder / "journal"), "silent": ["sleep", "60"]}
config = write_config(folder / "config.json", servers)
port = free_port()
with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
    listens(port)
    eventually(lambda: SseSession(f"http://127.0.0.1:{port}/mcp").endpoint is not None, 20)
    client = SseSession(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    asked = eventually(
        lambda: any(one.get("method") == "tools/list" for one in read_journal(folder / "journal")), 20
    )
    listed = eventually(lambda: bool((client.request("tools/list") or {})["result"]["tools"]), 15)
report(
    bool(asked) and not listed,
    f"the good server was asked: {asked}; 15 seconds later its tools are listed: {listed}",
)
