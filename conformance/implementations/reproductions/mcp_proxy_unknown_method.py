"""mcp-proxy 0.13.0: an unknown method gets the code -32602, not -32601 (python-sdk issue 1561)."""

from small_client import Program, command_of, report
from small_upstream import OneFileUpstream

with OneFileUpstream() as upstream:
    with Program([*command_of("mcp-proxy"), "--transport", "streamablehttp", upstream.url]) as proxy:
        proxy.handshake()
        answer = proxy.request("no/such/method")
    error = (answer or {}).get("error") or {}
    report(answer is not None and error.get("code") != -32601, f"the answer to an unknown method is {error}")
