"""FastMCP 4.2.3: a client of MCP 2026-07-28 gets an empty list of the tools of a server that needs the handshake.

It speaks the client's revision to its servers (PrefectHQ/fastmcp pull request 4573), and reports no error if one refuses.
"""

from small_client import Program, command_of, new_folder, report
from small_upstream import stdio_command, write_config

PREFIX = "io.modelcontextprotocol/"
META = {
    f"{PREFIX}protocolVersion": "2026-07-28",
    f"{PREFIX}clientCapabilities": {},
    f"{PREFIX}clientInfo": {"name": "reproduction", "version": "1"},
}
folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal")})
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    modern = proxy.request("tools/list", {"_meta": META}, 30) or {}
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    proxy.handshake()
    legacy = proxy.request("tools/list") or {}
counts = [len(answer.get("result", {}).get("tools", "?")) for answer in (modern, legacy)]
report(
    modern.get("result", {}).get("tools") == [] and counts[1] > 0,
    f"tools for a modern and a legacy client: {counts}",
)
