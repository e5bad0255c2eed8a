"""Batches, which protocol version 2025-03-26 has and no other: several messages in, one array of answers out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import INVALID_REQUEST, PARSE_ERROR, Malformed


def elements_of(line: bytes) -> list[bytes]:
    """The messages of a batch. Raises Malformed, also for an empty one (JSON-RPC 2.0, section 6)."""
    try:
        elements = msgspec.json.decode(line, type=list[Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Malformed(PARSE_ERROR, "the line is not valid JSON") from None
    if not elements:
        raise Malformed(INVALID_REQUEST, "a batch must not be empty")
    return [bytes(element) for element in elements]


class Batch:
    """Collects the answers to the messages of one batch. Notifications are not answered; progress does not wait."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._answers: list[bytes] = []
        self._open = 1

    def opened(self) -> None:
        """One more answer will come."""
        self._open += 1

    def answer(self, line: bytes) -> None:
        """An answer came."""
        self._answers.append(line.strip())
        self.closed()

    def closed(self) -> None:
        """One answer less will come; the last one sends them all. Also called once when every message was read."""
        self._open -= 1
        if not self._open and self._answers:
            self._send(b"[" + b",".join(self._answers) + b"]\n")
