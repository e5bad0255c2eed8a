"""mcp-remote 0.15.1: an event whose lines end in CR alone waits for the next event, so a call gets no answer in 10 s."""

import json

from small_client import Program, command_of, report, text_of
from small_upstream import Message, OneFileUpstream


def ends_lines_with_cr(message: Message) -> tuple[str, str] | None:
    """The answer to a call as an event stream, which stays open after the event."""
    if message.get("method") != "tools/call":
        return None
    result = {"content": [{"type": "text", "text": "hello"}]}
    data = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
    return "text/event-stream", f"event: message\rdata: {data}\r\r"


with OneFileUpstream(ends_lines_with_cr) as upstream:
    with Program([*command_of("mcp-remote"), upstream.url]) as proxy:
        proxy.handshake()
        answer = proxy.call("echo", {"text": "hello"}, 10)
    report(answer is None, f"the call: {text_of(answer)}")
