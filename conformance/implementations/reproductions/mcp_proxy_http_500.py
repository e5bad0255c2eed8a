"""mcp-proxy 0.13.0: one HTTP 500 leaves this call and all later ones without an answer.

The client of its SDK drops the error (modelcontextprotocol/python-sdk issue 3091).
"""

from small_client import Program, command_of, report, text_of
from small_upstream import Message, OneFileUpstream


def fail_once(message: Message) -> int | None:
    """The status 500 for the call with the text `bad`."""
    return 500 if message.get("params", {}).get("arguments") == {"text": "bad"} else None


with OneFileUpstream(fail_once) as upstream:
    with Program([*command_of("mcp-proxy"), "--transport", "streamablehttp", upstream.url]) as proxy:
        proxy.handshake()
        first = text_of(proxy.call("echo", {"text": "before"}))
        bad = proxy.call("echo", {"text": "bad"}, 15)
        later = text_of(proxy.call("echo", {"text": "after"}, 15))
    report(
        first == "before" and bad is None and later != "after", f"{bad}, and the next call returned: {later}"
    )
