"""mcp-hub 4.2.1: a session that the server forgot is never replaced.

MCP 2025-11-25, basic/transports, Session Management: on a 404 the client starts a new session.
"""

from small_client import Program, command_of, new_folder, report, text_of
from small_http import free_port
from small_sse import SseSession, hub_is_ready
from small_upstream import OneFileUpstream, write_config

port = free_port()
with OneFileUpstream(sessions=True) as upstream:
    config = write_config(new_folder() / "config.json", {"one": {"url": upstream.url}})
    with Program([*command_of("mcp-hub"), "--port", str(port), "--config", config]) as hub:
        hub_is_ready(port)
        client = SseSession(f"http://127.0.0.1:{port}/mcp")
        client.handshake()
        first = text_of(client.call("one__echo", {"text": "before"}))
        upstream.forget_sessions()
        later = [text_of(client.call("one__echo", {"text": "after"}, 15)) for _ in range(3)]
    report(
        first == "before" and "after" not in later,
        f"three calls after the restart of the server returned {later}",
    )
