"""FastMCP 4.2.3: a call that a legacy SSE server refuses with HTTP 500 gets no answer in 20 s.

The client of its SDK drops the error (modelcontextprotocol/python-sdk issue 2110).
"""

from small_client import Program, command_of, new_folder, report, text_of
from small_upstream import Message, OneFileUpstream, write_config


def fail_once(message: Message) -> int | None:
    """The status 500 for the call with the text `bad`."""
    return 500 if message.get("params", {}).get("arguments") == {"text": "bad"} else None


with OneFileUpstream(fail_once) as upstream:
    config = write_config(
        new_folder() / "config.json", {"one": {"url": upstream.sse_url, "transport": "sse"}}
    )
    with Program([*command_of("fastmcp"), "run", config]) as proxy:
        proxy.handshake()
        first = text_of(proxy.call("echo", {"text": "before"}, 20))
        bad = proxy.call("echo", {"text": "bad"}, 20)
    report(first == "before" and bad is None, f"the refused call returned {bad}")
