"""mcp-proxy 0.13.0: a session that the server forgot is never replaced (sparfenyuk/mcp-proxy issue 149).

MCP 2025-11-25, basic/transports, Session Management: on a 404 the client starts a new session.
"""

from small_client import Program, command_of, report, text_of
from small_upstream import OneFileUpstream

with OneFileUpstream(sessions=True) as upstream:
    with Program([*command_of("mcp-proxy"), "--transport", "streamablehttp", upstream.url]) as proxy:
        proxy.handshake()
        first = text_of(proxy.call("echo", {"text": "before"}))
        upstream.forget_sessions()
        later = [text_of(proxy.call("echo", {"text": "after"}, 15)) for _ in range(3)]
    report(
        first == "before" and "after" not in later,
        f"three calls after the restart of the server returned {later}",
    )
