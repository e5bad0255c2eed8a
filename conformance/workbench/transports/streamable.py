"""A client over Streamable HTTP, of both eras.

Each message is a POST. A request gets its answer in the response, as JSON or on an event stream. In a legacy session the client also
holds a GET stream, resumes a stream that ends too early, and ends the session with DELETE. In the modern era there is no session: the
client repeats parts of the message in headers, and cancels a request by closing its response.

Source: MCP 2025-11-25, basic/transports, Streamable HTTP; MCP 2026-07-28, basic/transports/streamable-http.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anyio

from conformance.errors import Violation
from conformance.workbench.timeline import shorten
from conformance.workbench.transports.bodies import BodyReply
from conformance.workbench.transports.events import EventDecoder, StreamTooLarge
from conformance.workbench.transports.headers import (
    JSON,
    SESSION,
    STREAM,
    modern_headers,
    modern_version,
    resuming,
    session_headers,
)
from conformance.workbench.transports.listening import (
    LOST,
    MAX_RECEIVED,
    ListeningTransport,
    Post,
    describe,
    describe_loss,
    media_type,
    messages,
    quietly,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import aiohttp

    from conformance.workbench.transcript import Json

#: seconds that the client waits for the response to DELETE, and for the first byte of the GET stream
_DELETE = 2.0
_OPENING = 0.5
#: seconds before the client opens a stream again, if the program gives no time
_PAUSE = 1.0
#: how often the client opens a stream again that has brought nothing since
_MAX_ATTEMPTS = 10


class StreamableHttpTransport(ListeningTransport):
    """Streamable HTTP."""

    name = "Streamable HTTP"
    _session: str | None = None
    _version: str | None = None
    _own_stream: asyncio.Task[None] | None = None

    async def deliver(self, post: Post) -> None:
        """As in `ListeningTransport`."""
        if self._cancels(post):
            return
        task = self.spawn(self._post(post))
        self._open_posts[task] = post
        task.add_done_callback(lambda ended: self._open_posts.pop(ended, None))
        await self.until(post.written if post.is_request else post.accepted, task)
        if post.method == "notifications/initialized" and modern_version(post.message) is None:
            await self._listen()

    async def open(self, client: aiohttp.ClientSession) -> None:
        """As in `ListeningTransport`."""
        self._open_posts: dict[asyncio.Task[None], Post] = {}
        #: the tools that the program has listed, by name
        self._tools: dict[str, Json] = {}

    async def end_session(self, client: aiohttp.ClientSession) -> None:
        """Send DELETE, if there is a session."""
        if self._session is not None:
            await quietly(self._delete(client), _DELETE)

    async def _delete(self, client: aiohttp.ClientSession) -> None:
        headers = session_headers(self._session, self._version)
        async with client.delete(self._url, headers=headers, allow_redirects=False) as response:
            self.note(f"DELETE: {response.status}")

    def _cancels(self, post: Post) -> bool:
        """Close the response that a modern client cancels; whether the message is such a cancellation."""
        if post.method != "notifications/cancelled" or modern_version(post.message) is None:
            return False
        cancelled = post.message["params"].get("requestId")
        for task, other in list(self._open_posts.items()):
            if modern_version(other.message) is not None and _is_same(other.id, cancelled):
                task.cancel()
                self.note(f"closes the response to {other.name}")
        return True

    # A POST and its response

    async def _post(self, post: Post) -> None:
        headers = {"Accept": f"{JSON}, {STREAM}", "Content-Type": JSON}
        if modern_version(post.message) is None:
            headers |= session_headers(self._session, self._version)
        else:
            headers |= modern_headers(post.message, self._tools)
        try:
            async with self.client.post(
                self._url, data=post.line, headers=headers, allow_redirects=False, trace_request_ctx=post
            ) as response:
                if post.method == "initialize":
                    self._learn_session(response)
                post.accepted.set()
                await (self._read_answer if post.is_request else self._read_confirmation)(post, response)
        except LOST as problem:
            self.fail(post, f"the connection broke: {describe_loss(problem)}", lost=True)

    async def post_body(self, body: bytes, within: float) -> BodyReply:
        """As in `TakesBodies`."""
        headers = {"Accept": f"{JSON}, {STREAM}", "Content-Type": JSON}
        headers |= session_headers(self._session, self._version)
        await self.prepare()
        expected = f"a response to the body {shorten(body.decode(errors='replace'), 80)} within {within:g} s"
        try:
            with anyio.fail_after(within):
                async with self.client.post(
                    self._url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    text = await self.body(response)
                    seen = describe(response, text)
                    is_stream = media_type(response) == STREAM
                parts = await self._events_of(text, _requests_in(body)) if is_stream else [text]
        except TimeoutError:
            raise Violation(expected, "the response does not end", timed=True) from None
        except LOST as problem:
            raise Violation(expected, f"the connection broke: {describe_loss(problem)}") from problem
        self.note(f"POST {shorten(body.decode(errors='replace'), 200)}: {seen}")
        found = [message for one in parts for message in messages(one)]
        for message in found:
            if "method" in message:
                self._inbox.take(json.dumps(message, ensure_ascii=False))
        return BodyReply(response.status, [message for message in found if "method" not in message], seen)

    async def _events_of(self, text: str, wanted: int) -> list[str]:
        """The data of the events of a stream. If it ended before so many answers, the client resumes it."""
        decoder = EventDecoder(MAX_RECEIVED)
        parts = [event.data for event in decoder.feed(text.encode())]
        attempts = 0
        while decoder.last_id and attempts < _MAX_ATTEMPTS and len(_answers_in(parts)) < wanted:
            attempts += 1
            await asyncio.sleep(_pause(decoder))
            headers = self._resuming(decoder)
            async with self.client.get(self._url, headers=headers, allow_redirects=False) as response:
                text = await self.body(response)
                self.note(f"GET, Last-Event-ID: {decoder.last_id}: {describe(response, text)}")
                if response.status != 200 or media_type(response) != STREAM:
                    break
            decoder.restart()
            parts += [event.data for event in decoder.feed(text.encode())]
        return parts

    def _learn_session(self, response: aiohttp.ClientResponse) -> None:
        session = response.headers.get(SESSION)
        if session is None or response.status >= 300:
            return
        if not session or not all("!" <= character <= "~" for character in session):
            self.deviates("a session id of visible ASCII characters", f"{SESSION}: {session!r}")
        self._session = session

    async def _read_confirmation(self, post: Post, response: aiohttp.ClientResponse) -> None:
        body = await self.body(response)
        seen = describe(response, body)
        self.note(f"{post.name}: {seen}")
        # The program may refuse a message, but with a status that says so.
        is_wrong = bool(body) if response.status == 202 else not 400 <= response.status < 500
        if is_wrong:
            what = post.method if "method" in post.message else "an answer"
            self.deviates(f"202 Accepted without a body for {what}", seen)
        for message in messages(body):
            if "jsonrpc" in message and ("error" not in message or response.status < 400):
                self._inbox.take(json.dumps(message, ensure_ascii=False))

    async def _read_answer(self, post: Post, response: aiohttp.ClientResponse) -> None:
        kind = media_type(response)
        if response.status < 300 and kind == STREAM:
            await self._read_stream(post, response)
            return
        body = await self.body(response)
        seen = describe(response, body)
        if response.status >= 400:
            self._take_refusal(post, response, body, seen)
            return
        is_proper = response.status < 300 and response.status != 202 and kind == JSON
        if not is_proper:
            self.deviates(f"{JSON} or {STREAM} answers {post.name}", seen)
        if response.status < 300 and messages(body):
            self._take(post, body)
        elif is_proper:
            self.deviates(f"the JSON body is the answer to {post.name}", seen)
        if not post.answers:
            self.fail(post, seen)

    def _take_refusal(self, post: Post, response: aiohttp.ClientResponse, body: str, seen: str) -> None:
        """A JSON-RPC error in the body is the answer, with any id: this POST has only one request."""
        self.note(f"{post.name}: HTTP {response.status}")
        errors = [message for message in messages(body) if {"jsonrpc", "error"} <= message.keys()]
        if not errors:
            self.fail(post, seen)
        else:
            if errors[0].get("id") is not None and not _is_same(errors[0]["id"], post.id):
                self.deviates(f"an error without an id, or with that of {post.name}", seen)
            self._take(post, json.dumps({**errors[0], "id": post.id}, ensure_ascii=False))

    async def _read_stream(self, post: Post, response: aiohttp.ClientResponse) -> None:
        decoder = EventDecoder(MAX_RECEIVED)
        why = await self._read_events(post, response, decoder)
        attempts = 0
        while not post.answers and decoder.last_id and attempts < _MAX_ATTEMPTS:
            attempts += 1
            if modern_version(post.message) is not None:
                break  # this era has no resumption
            await asyncio.sleep(_pause(decoder))
            before = decoder.last_id
            why = await self._resume(post, decoder)
            attempts = attempts if decoder.last_id == before else 0
        if not post.answers:
            self.fail(post, why, lost=True)

    async def _read_events(
        self, post: Post | None, response: aiohttp.ClientResponse, decoder: EventDecoder
    ) -> str:
        """Take the messages of a stream up to its end; returns how it ended. Without a request it is the GET stream."""
        try:
            async for event in self.events(response, decoder):
                if event.name == "message" and event.data:
                    self._take(post, event.data)
        except StreamTooLarge:
            raise
        except LOST as problem:
            return f"the stream broke before the answer: {describe_loss(problem)}"
        return "the stream ended without the answer"

    async def _resume(self, post: Post | None, decoder: EventDecoder) -> str:
        headers = self._resuming(decoder)
        try:
            async with self.client.get(self._url, headers=headers, allow_redirects=False) as response:
                if response.status != 200 or media_type(response) != STREAM:
                    return f"the stream cannot be resumed: {describe(response, await self.body(response))}"
                self.note(f"GET, Last-Event-ID: {decoder.last_id}: {response.status}")
                decoder.restart()
                return await self._read_events(post, response, decoder)
        except LOST as problem:
            return f"the stream cannot be resumed: {describe_loss(problem)}"

    def _resuming(self, decoder: EventDecoder) -> dict[str, str]:
        return resuming(session_headers(self._session, self._version), decoder.last_id)

    def _take(self, post: Post | None, text: str) -> None:
        """Take a message that came in the response to `post`, or without one on the GET stream."""
        for message in messages(text):
            if "method" in message or not {"result", "error"} & message.keys():
                continue
            if post is not None and not _is_same(message.get("id"), post.id):
                self.breaks(f"the response to {post.name} has no answer to another request", shorten(text))
            elif post is not None:
                self._learn(post, message)
                post.answers += 1
        self._inbox.take(text)

    def _learn(self, post: Post, message: Json) -> None:
        result = message.get("result")
        if not isinstance(result, dict):
            return
        if post.method == "initialize" and isinstance(result.get("protocolVersion"), str):
            self._version = result["protocolVersion"]
        tools = result.get("tools") if post.method == "tools/list" else None
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._tools[tool["name"]] = tool

    # The GET stream

    async def _listen(self) -> None:
        """Open the stream for what the program sends by itself, unless it is open, and wait a moment for its beginning."""
        if self._own_stream is not None and not self._own_stream.done():
            return
        opened = asyncio.Event()
        self._own_stream = self.spawn(self._hold_own_stream(opened))
        await self.until(opened, self._own_stream, _OPENING)

    async def _hold_own_stream(self, opened: asyncio.Event) -> None:
        decoder = EventDecoder(MAX_RECEIVED)
        attempts = 0
        while attempts < _MAX_ATTEMPTS:
            headers = self._resuming(decoder)
            before = self._received
            try:
                async with self.client.get(self._url, headers=headers, allow_redirects=False) as response:
                    self.note(f"GET: {response.status}")
                    opened.set()
                    if response.status != 200 or media_type(response) != STREAM:
                        if attempts == 0 and response.status != 405:
                            self.deviates("an event stream or 405 answers GET", describe(response))
                        return
                    decoder.restart()
                    async for event in self.events(response, decoder):
                        if event.name == "message" and event.data:
                            self._take_own(event.data, resumed=decoder.last_id is not None and attempts > 0)
            except StreamTooLarge:
                return
            except LOST as problem:
                self.note(f"the GET stream broke: {problem}")
            attempts = attempts + 1 if self._received == before else 1
            await asyncio.sleep(_pause(decoder))

    def _take_own(self, text: str, *, resumed: bool) -> None:
        answers = [message for message in messages(text) if "method" not in message]
        if answers and not resumed:
            self.deviates("no answer on the GET stream, which does not resume another one", shorten(text))
        self._inbox.take(text)


def _pause(decoder: EventDecoder) -> float:
    """Seconds before the client opens the stream again."""
    return _PAUSE if decoder.retry is None else decoder.retry / 1000


def _answers_in(parts: Iterable[str]) -> list[Json]:
    return [message for part in parts for message in messages(part) if "method" not in message]


def _requests_in(body: bytes) -> int:
    """How many answers a body can get; one for a body that cannot be read."""
    requests = [one for one in messages(body.decode(errors="replace")) if {"id", "method"} <= one.keys()]
    return max(1, len(requests))


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
