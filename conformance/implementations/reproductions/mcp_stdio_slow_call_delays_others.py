"""mcp-stdio 0.45.2: over Streamable HTTP a slow call delays every other request until it has its answer."""

import time

from small_client import Program, command_of, report, text_of
from small_upstream import OneFileUpstream

with OneFileUpstream() as upstream:
    with Program([*command_of("mcp-stdio"), upstream.url]) as proxy:
        proxy.handshake()
        proxy.send("tools/call", {"name": "slow", "arguments": {"seconds": 6}}, id="a")
        time.sleep(0.5)
        begin = time.monotonic()
        text = text_of(proxy.call("echo", {"text": "fast"}, 20))
        took = time.monotonic() - begin
    report(text == "fast" and took > 4, f"beside a call of 6 s, a quick one took {took:.1f} s")
