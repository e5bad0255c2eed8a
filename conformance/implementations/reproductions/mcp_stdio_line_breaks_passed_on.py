"""mcp-stdio 0.45.2: an answer of the server that is JSON with line breaks reaches the client in pieces, which are no messages."""

import json

from small_client import Program, command_of, report, text_of
from small_upstream import Message, OneFileUpstream


def indented(message: Message) -> tuple[str, str] | None:
    """The answer to a call, written over several lines; JSON allows that."""
    if message.get("method") != "tools/call":
        return None
    result = {"content": [{"type": "text", "text": "hello"}]}
    return "application/json", json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}, indent=2)


with OneFileUpstream(indented) as upstream:
    with Program([*command_of("mcp-stdio"), upstream.url]) as proxy:
        proxy.handshake()
        answer = proxy.call("echo", {"text": "hello"}, 10)
        pieces = len(proxy.junk)
    report(
        answer is None and pieces > 1,
        f"the call: {text_of(answer)}; lines on stdout that are no JSON: {pieces}",
    )
