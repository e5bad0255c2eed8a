"""mcp-stdio 0.45.2: after the client has answered a request of the server, it gets an error with the id of that request."""

from small_client import Program, command_of, report
from small_upstream import Message, OneFileUpstream, result_of


def ping_first(message: Message) -> list[Message] | None:
    """A call is answered with a stream of a ping and the result."""
    if message.get("method") != "tools/call":
        return None
    ping = {"jsonrpc": "2.0", "id": "ping-of-the-server", "method": "ping"}
    return [ping, {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}]


with OneFileUpstream(ping_first) as upstream:
    with Program([*command_of("mcp-stdio"), upstream.url]) as proxy:
        proxy.handshake()
        proxy.call("echo", {"text": "a"})
        asked = proxy.wait(lambda message: message.get("method") == "ping", 10)
        proxy.respond("ping-of-the-server", {})
        odd = proxy.answer("ping-of-the-server", 10)
    report(asked is not None and odd is not None, f"{odd}")
