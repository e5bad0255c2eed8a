"""FastMCP 4.2.3: with two servers, each request starts the processes of both anew (see PrefectHQ/fastmcp issue 3466).

MCP 2025-11-25, basic/lifecycle: the handshake opens a session that lasts until the shutdown.
"""

from small_client import Program, command_of, new_folder, report, text_of
from small_upstream import read_journal, stdio_command, write_config

folder = new_folder()
journals = [folder / "one", folder / "two"]
config = write_config(folder / "config.json", {path.name: stdio_command(path) for path in journals})
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    proxy.handshake()
    texts = [text_of(proxy.call("one_echo", {"text": str(n)}, 30)) for n in range(4)]
starts = [sum("pid" in entry for entry in read_journal(path)) for path in journals]
report(
    texts == ["0", "1", "2", "3"] and max(starts) > 3,
    f"four calls of one server; starts of the two: {starts}",
)
