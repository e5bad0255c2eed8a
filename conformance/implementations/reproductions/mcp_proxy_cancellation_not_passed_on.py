"""mcp-proxy 0.13.0: the cancellation of a call does not reach the server, which works on."""

import time

from small_client import Program, command_of, report
from small_upstream import OneFileUpstream

with OneFileUpstream() as upstream:
    with Program([*command_of("mcp-proxy"), "--transport", "streamablehttp", upstream.url]) as proxy:
        proxy.handshake()
        proxy.send("tools/call", {"name": "slow", "arguments": {"seconds": 5}}, id="a")
        time.sleep(2)
        proxy.send("notifications/cancelled", {"requestId": "a"})
        time.sleep(2)
        methods = upstream.methods()
    report("tools/call" in methods and "notifications/cancelled" not in methods, f"the server got {methods}")
