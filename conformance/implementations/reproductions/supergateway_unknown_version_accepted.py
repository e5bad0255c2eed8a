"""supergateway 4.0.0: a notification with an invalid MCP-Protocol-Version gets 202, and a call with it 400.

It takes each version that sorts after those of the sessions for one of the modern era, also a word, and looks no further.
"""

import shlex

from small_client import Program, command_of, new_folder, report
from small_http import Session, free_port, listens
from small_upstream import stdio_command

port = free_port()
server = shlex.join(stdio_command(new_folder() / "journal"))
listen = ["--outputTransport", "streamableHttp", "--stateful", "--port", str(port)]
with Program([*command_of("supergateway"), *listen, "--stdio", server]):
    listens(port)
    client = Session(f"http://127.0.0.1:{port}/mcp")
    client.handshake()
    client.version = "not-a-version"
    notified = client.notify("notifications/cancelled", {"requestId": "none"})
    called, _ = client.post({"jsonrpc": "2.0", "id": "call", "method": "tools/list"})
report(
    notified == 202 and called == 400,
    f"a notification with this version gets {notified}, and a request {called}",
)
