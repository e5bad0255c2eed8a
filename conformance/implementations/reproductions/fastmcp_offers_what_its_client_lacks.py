"""FastMCP 4.2.3: it offers a server sampling and elicitation, although its own client can do neither."""

from small_client import Program, command_of, new_folder, report
from small_upstream import read_journal, stdio_command, write_config

folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal")})
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    proxy.handshake()  # with the capabilities {}
    proxy.call("echo", {"text": "x"})
    entries = read_journal(folder / "journal")
offered = [entry["params"]["capabilities"] for entry in entries if entry.get("method") == "initialize"]
report(bool(offered) and all(map(bool, offered)), f"the server was offered {offered[-1:]}")
