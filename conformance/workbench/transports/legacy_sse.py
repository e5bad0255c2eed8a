"""A client over HTTP+SSE: a stream brings every message of the program, and each message of the client is a POST.

Source: MCP 2024-11-05, basic/transports, HTTP with SSE. The modern era does not have this transport.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from conformance.errors import NotApplicable, Violation
from conformance.workbench.timeline import shorten
from conformance.workbench.transports.events import EventDecoder
from conformance.workbench.transports.headers import JSON, STREAM, modern_version
from conformance.workbench.transports.listening import (
    LOST,
    MAX_RECEIVED,
    ListeningTransport,
    Post,
    describe,
    describe_loss,
    media_type,
    messages,
)

if TYPE_CHECKING:
    import aiohttp

_EXPECTED = "an event stream that begins with the event `endpoint`"


class LegacySseTransport(ListeningTransport):
    """HTTP+SSE of 2024-11-05."""

    name = "HTTP+SSE"
    _endpoint = ""
    _lost = ""

    async def open(self, client: aiohttp.ClientSession) -> None:
        """Open the stream and wait for the event `endpoint`. Raises `Violation` if it does not come."""
        #: the requests without an answer, by the JSON text of their ids
        self._waiting: dict[str, Post] = {}
        self._lost = ""
        opened = asyncio.Event()
        stream = self.spawn(self._hold_stream(client, opened))
        await self.until(opened, stream)
        if not self._endpoint:
            raise Violation(_EXPECTED, self._lost)

    async def deliver(self, post: Post) -> None:
        """As in `ListeningTransport`."""
        if modern_version(post.message) is not None:
            raise NotApplicable(
                "the client reaches the program over HTTP+SSE, a transport that 2026-07-28 does not have"
            )
        if post.is_request:
            self._waiting[json.dumps(post.id)] = post
        task = self.spawn(self._post(post))
        await self.until(post.written if post.is_request else post.accepted, task)

    async def _post(self, post: Post) -> None:
        if self._lost:
            self.fail(post, self._lost, lost=True)
            return
        try:
            async with self.client.post(
                self._endpoint,
                data=post.line,
                headers={"Content-Type": JSON},
                allow_redirects=False,
                trace_request_ctx=post,
            ) as response:
                post.accepted.set()
                seen = describe(response, await self.body(response))
        except LOST as problem:
            self.fail(post, f"the connection broke: {describe_loss(problem)}", lost=True)
            return
        self.note(f"{post.name}: {seen}")
        if response.status >= 300:
            self.fail(post, seen)

    async def _hold_stream(self, client: aiohttp.ClientSession, opened: asyncio.Event) -> None:
        decoder = EventDecoder(MAX_RECEIVED)
        why = "the stream ended"
        try:
            async with client.get(self._url, headers={"Accept": STREAM}, allow_redirects=False) as response:
                if response.status != 200 or media_type(response) != STREAM:
                    why = describe(response, await self.body(response))
                else:
                    async for event in self.events(response, decoder):
                        if event.name == "endpoint":
                            self._learn_endpoint(event.data)
                            opened.set()
                        elif event.name == "message":
                            self._take(event.data)
        except LOST as problem:
            why = f"the stream broke: {describe_loss(problem)}"
        self._lost = why
        for post in self._waiting.values():
            self.fail(post, why, lost=True)

    def _learn_endpoint(self, data: str) -> None:
        endpoint = urljoin(self._url, data)
        if urlsplit(endpoint)[:2] != urlsplit(self._url)[:2]:
            self._lost = f"the endpoint {shorten(data, 100)}"
            self.breaks("an endpoint of the same origin as the stream", shorten(data, 100))
        else:
            self._endpoint = endpoint

    def _take(self, text: str) -> None:
        for message in messages(text):
            if "method" not in message:
                self._waiting.pop(json.dumps(message.get("id")), None)
        self._inbox.take(text)
