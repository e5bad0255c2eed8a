"""supergateway 4.0.0: a call whose event stream is cut gets no answer in 20 s, although the bridge reconnects."""

import time

from small_client import Program, command_of, report, text_of
from small_upstream import OneFileUpstream

with OneFileUpstream() as upstream:
    with Program([*command_of("supergateway"), "--sse", upstream.sse_url]) as proxy:
        proxy.handshake()
        proxy.send("tools/call", {"name": "slow", "arguments": {"seconds": 2, "text": "lost"}}, id="a")
        time.sleep(1)
        upstream.drop_streams()
        lost = proxy.answer("a", 20)
        later = text_of(proxy.call("echo", {"text": "after"}))
    report(lost is None and later == "after", f"the interrupted call returned {lost}; the next one: {later}")
