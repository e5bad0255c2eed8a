"""Batches of MCP 2025-03-26: several messages in one array, and their answers in one array."""

from __future__ import annotations

from collections.abc import Callable


class Batch:
    """Collects the answers to the messages of one batch. Progress notifications do not wait for them."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._answers: list[bytes] = []
        self._open = 1

    def expect_answer(self) -> None:
        """Expect one more answer."""
        self._open += 1

    def answer(self, line: bytes) -> None:
        """Add an answer."""
        self._answers.append(line.strip())
        self.settle()

    def settle(self) -> None:
        """Expect one answer less, and send all answers after the last one. Called once more when every message was read."""
        self._open -= 1
        if not self._open and self._answers:
            self._send(b"[" + b",".join(self._answers) + b"]\n")
