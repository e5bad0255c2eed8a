"""mcp-proxy 0.13.0: after a cut event stream every call fails with an empty text (sparfenyuk/mcp-proxy issue 75)."""

import time

from small_client import Program, command_of, report, text_of
from small_upstream import OneFileUpstream

with OneFileUpstream() as upstream:
    with Program([*command_of("mcp-proxy"), upstream.sse_url]) as proxy:
        proxy.handshake()
        first = text_of(proxy.call("echo", {"text": "before"}))
        upstream.drop_streams()
        time.sleep(5)
        later = [proxy.call("echo", {"text": "after"}, 15) for _ in range(2)]
    texts = [answer and answer["result"]["content"][0]["text"] for answer in later]
    report(first == "before" and "after" not in texts, f"two calls after the cut returned the texts {texts}")
