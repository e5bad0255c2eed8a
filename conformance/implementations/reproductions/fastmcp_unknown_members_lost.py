"""FastMCP 4.2.3: members of a result that its SDK does not know are lost on the way to the client."""

from small_client import Program, command_of, new_folder, report
from small_upstream import RICH, stdio_command, write_config

folder = new_folder()
config = write_config(folder / "config.json", {"one": stdio_command(folder / "journal")})
with Program([*command_of("fastmcp"), "run", config]) as proxy:
    proxy.handshake()
    answer = proxy.call("rich") or {}
lost = sorted(set(RICH) - set(answer.get("result", {})))
report("result" in answer and lost == ["x-result"], f"lost members of the result: {lost}")
