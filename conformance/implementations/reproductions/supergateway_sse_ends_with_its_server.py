"""supergateway 4.0.0: when the server process of an SSE gateway crashes, the gateway ends for all clients."""

import shlex

from small_client import Program, command_of, new_folder, report
from small_http import free_port, listens
from small_sse import SseSession
from small_upstream import stdio_command

port = free_port()
server = shlex.join(stdio_command(new_folder() / "journal", "die"))
with Program([*command_of("supergateway"), "--stdio", server, "--port", str(port)]) as proxy:
    listens(port)
    client = SseSession(f"http://127.0.0.1:{port}/sse")
    client.handshake()
    answer = client.call("echo", {"text": "x"}, 5)
    ended = proxy.ended(10)
report(
    ended and answer is None,
    f"the call that crashed the server returned {answer}; the gateway ended: {ended}",
)
