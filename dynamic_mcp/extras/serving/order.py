"""The order of what ``connect`` does: nothing overtakes the handshake, and the last answers come before the end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

from dynamic_mcp.extras.serving.outgoing import PostedRequest
from dynamic_mcp.frontend.running import JUST_ASKED, LAST_ANSWERS, LAST_PIPED_ANSWERS


class HandshakeOrder:
    """The messages of the handshake that are on their way. Those that the client sends after them wait for them."""

    def __init__(self) -> None:
        self.tasks: frozenset[asyncio.Task[None]] = frozenset()

    def add(self, task: asyncio.Task[None]) -> None:
        """Let the next messages wait for this one."""
        self.tasks |= {task}
        task.add_done_callback(self._remove)

    def _remove(self, task: asyncio.Task[None]) -> None:
        self.tasks -= {task}


async def ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait until tasks have ended, also by a failure or a cancellation."""
    if tasks:
        await asyncio.wait(tasks)


async def without_answer(
    posts: Sequence[PostedRequest], has_answered: bool, gone: Coroutine[Any, Any, None]
) -> list[PostedRequest]:
    """Wait for the last answers, as long as the proxy does for a client on stdio, and no longer than ``gone``.

    ``has_answered`` says that a call has ended before. Returns the requests without an answer.
    """
    before = asyncio.get_running_loop().time() - JUST_ASKED
    is_piped = not has_answered and all(post.received > before for post in posts)
    timeout = LAST_PIPED_ANSWERS if is_piped else LAST_ANSWERS
    leaving = asyncio.ensure_future(gone)
    answered = asyncio.ensure_future(ended([post.task for post in posts if post.task is not None]))
    await asyncio.wait((answered, leaving), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    answered.cancel()
    leaving.cancel()
    return [post for post in posts if post.task is not None and not post.task.done()]
