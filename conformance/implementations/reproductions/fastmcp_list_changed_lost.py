"""FastMCP 4.2.3: it declares tools.listChanged, and does not pass list_changed on (PrefectHQ/fastmcp issue 4161)."""

from small_client import Program, command_of, new_folder, report, text_of
from small_upstream import stdio_command, write_config

folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal", "changed")})
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    declared = proxy.handshake()["capabilities"]["tools"].get("listChanged")
    text = text_of(proxy.call("echo", {"text": "x"}))
    note = proxy.wait(lambda message: message.get("method") == "notifications/tools/list_changed", 5)
report(text == "x" and declared and note is None, f"declared: {declared}; the client got {note}")
