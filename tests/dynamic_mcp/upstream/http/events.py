"""What an upstream over HTTP reports, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.sign_in_page import SignInPage


class RecordedEvents:
    """Records the messages that the upstream begins."""

    def __init__(self) -> None:
        self.methods: list[str | None] = []
        self.new_sessions = 0
        self.streams_opened = 0

    def capabilities(self) -> bytes:
        return b"{}"

    def client_info(self) -> bytes:
        return b""

    def on_notification(self, message: Message) -> None:
        self.methods.append(message.method)

    async def on_request(self, message: Message, callers: Sequence[object]) -> bytes:
        raise jsonrpc.Refusal(jsonrpc.METHOD_NOT_FOUND, "no")

    def on_sign_in(self, page: SignInPage) -> bool:
        return False

    def on_new_session(self) -> None:
        self.new_sessions += 1

    def on_stream_open(self) -> None:
        self.streams_opened += 1

    def on_oddity(self, what: str) -> None:
        return None
