"""Passes the message of a POST to the core, and recognizes its answer."""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.extras.serving.posted import Posted
from dynamic_mcp.frontend.clients import Client
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.pieces import Large, Line


async def deliver(client: Client, line: Line, reply: Callable[[bytes], None]) -> None:
    """Pass a message to the core."""
    if isinstance(line, Large):
        await client.router.receive_large(line, reply)
    else:
        client.router.receive(line, reply)


class AnswerCheck:
    """Recognizes the answer to a POST among what the core writes during it. One line answers a whole batch."""

    def __init__(self, posted: Posted) -> None:
        message = posted.single
        ids = [jsonrpc.NULL if message is None else bytes(message.id)]
        ids += [problem.id for problem in posted.problems]
        self._begins = tuple(
            b'{"jsonrpc":"2.0","id":%b,"%b":' % (id, member)
            for id in (*ids, jsonrpc.NULL)
            for member in (b"result", b"error")
        )
        self._is_batch = posted.is_batch

    def is_answer(self, line: bytes) -> bool:
        """Whether this line is the answer."""
        return (self._is_batch and line.startswith(b"[")) or line.startswith(self._begins)
