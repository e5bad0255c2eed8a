"""mcp-proxy 0.13.0: it declares the capability logging, and the log messages of the server never reach the client."""

from small_client import Message, Program, command_of, report
from small_upstream import OneFileUpstream, result_of


def log(message: Message) -> list[Message] | None:
    """A log message, then the answer, for a call."""
    if message.get("method") != "tools/call":
        return None
    params = {"level": "error", "data": "hello"}
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
    return [note, {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}]


with OneFileUpstream(log) as upstream:
    with Program([*command_of("mcp-proxy"), "--transport", "streamablehttp", upstream.url]) as proxy:
        capabilities = proxy.handshake()["capabilities"]
        proxy.request("logging/setLevel", {"level": "debug"})
        answer = proxy.call("echo", {"text": "x"})
        heard = proxy.wait(lambda message: message.get("method") == "notifications/message", 5)
    declared = "logging" in capabilities
    report(
        declared and answer is not None and heard is None,
        f"logging declared: {declared}; the client gets {heard}",
    )
