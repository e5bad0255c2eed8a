"""A proxy as a process that exchanges JSON-RPC messages, one on each line.

Every answer reaches the conversation of its request. A message that the proxy begins reaches the newest open conversation, or `rest` if
there is none. stdio does not show which messages belong together. The process ends with its context.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

Message = dict[str, Any]

_MAX_LINE = 64 << 20
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
#: seconds for the proxy to exit after the end of its input
_GRACE = 10.0


class ProxyProcess:
    """A running proxy, started by `running`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._open: dict[str, asyncio.Queue[Message | None]] = {}
        self.rest: asyncio.Queue[Message | None] = asyncio.Queue()
        self._over = False

    def send(self, message: Message) -> None:
        """Write one message."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def converse(self, request: Message) -> AsyncGenerator[Message, None]:
        """Send a request; yields the messages up to its answer. Ends early if the proxy ends.

        A caller that does not read to the end must close the generator, because it stays the newest conversation until then.
        """
        key = _key(request["id"])
        arrived = self._open[key] = asyncio.Queue()
        if self._over:
            arrived.put_nowait(None)
        self.send(request)
        try:
            while (message := await arrived.get()) is not None:
                yield message
                if "method" not in message:
                    return
        finally:
            self._open.pop(key, None)

    async def read(self) -> None:
        """Deliver the messages of the proxy until its output ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            self._place_of(message).put_nowait(message)
        self._over = True
        for place in [*self._open.values(), self.rest]:
            place.put_nowait(None)

    def _place_of(self, message: Message) -> asyncio.Queue[Message | None]:
        if "method" not in message:
            return self._open.get(_key(message.get("id")), self.rest)
        meta = message.get("params", {}).get("_meta", {})
        subscription = self._open.get(_key(meta.get(_SUBSCRIPTION)))
        return subscription or next(reversed(self._open.values()), self.rest)


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> AsyncIterator[ProxyProcess]:
    """Start a proxy. At the end of the block its input ends and, if that is not enough, SIGKILL follows."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
        env=environment,
        limit=_MAX_LINE,
    )
    proxy = ProxyProcess(process)
    reading = asyncio.create_task(proxy.read())
    try:
        yield proxy
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading


def _key(id: Any) -> str:
    """A key that distinguishes the ids 1 and "1"."""
    return json.dumps(id)
