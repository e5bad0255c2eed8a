"""HTTP requests that a check composes itself, beside those of the client: any method, any headers, any message.

    endpoint = Endpoint(workbench, proxy)
    session = await endpoint.begin()
    reply = await endpoint.post(message, {**session, "Origin": "http://other.example"})

A stream that ends before the answer is resumed after its last event with an id.

Limit: a reply has at most the first 64 KiB of its body. From an event stream it has the events up to the first answer, and from a GET none.

Source: MCP 2025-11-25, basic/transports, Sending Messages to the Server: the server may close the connection, and the client polls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from conformance.errors import NotApplicable, Violation
from conformance.model.client_table import PORT
from conformance.model.registry import NEWEST_LEGACY
from conformance.workbench.client import CLIENT_INFO
from conformance.workbench.timeline import shorten
from conformance.workbench.transports.events import EventDecoder
from conformance.workbench.transports.headers import JSON, SESSION, STREAM, resuming, session_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

#: seconds for the beginning of a response, and for its body
_WITHIN = 10.0
#: seconds for a program to exit after its connection broke
_LAST_MOMENT = 0.5
#: seconds before it resumes a stream, if the program gives no time
_PAUSE = 0.5
_MAX_BODY = 64 << 10
#: a member that only answers have
_ANSWER = re.compile(r'"(?:result|error)"\s*:')

INITIALIZE: Json = {
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO},
}


@dataclass(frozen=True)
class EndpointReply:
    """The response to one request."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def has_result(self) -> bool:
        """Whether the program did what the message says."""
        return self.status < 300 and re.search(r'"result"\s*:', self.body) is not None

    def __str__(self) -> str:
        return f"HTTP {self.status}: {shorten(self.body, 300)}" if self.body else f"HTTP {self.status}"


class Endpoint:
    """The endpoint of the program that a client has reached."""

    def __init__(self, workbench: Workbench, proxy: Proxy) -> None:
        """`proxy` has made its handshake."""
        table = workbench.sut.profile.client
        assert proxy.greeting is not None
        #: the revision of the sessions
        self.revision = str(proxy.greeting.result.get("protocolVersion"))
        self._url = table.url.replace(PORT, str(proxy.port))
        self._headers = table.headers
        self._workbench = workbench
        self._proxy = proxy

    async def begin(self) -> dict[str, str]:
        """Begin a session. Returns the headers of its further requests: the id, if the program gives one, and the version.

        Raises `Violation` if the program refuses.
        """
        begun = await self.post(INITIALIZE)
        if not begun.has_result:
            raise Violation("a session begins", str(begun))
        session = session_headers(begun.headers.get(SESSION), self.revision)
        await self.post({"method": "notifications/initialized"}, session)
        return session

    async def post(self, message: Json, headers: Mapping[str, str] | None = None) -> EndpointReply:
        """Post a message; `jsonrpc` is added. Raises `Violation` if no response begins."""
        accepted = {"Accept": f"{JSON}, {STREAM}", **(headers or {})}
        return await self.request("POST", accepted, {"jsonrpc": "2.0", **message})

    async def request(
        self, method: str, headers: Mapping[str, str], message: Json | None = None
    ) -> EndpointReply:
        """Send any request, with the headers of the profile.

        Raises `Violation` if no response begins, and `ImplementationCrashed` if the program has gone.
        """
        import aiohttp  # here, because it takes a tenth of a second, and most programs do not listen

        timeout = aiohttp.ClientTimeout(total=_WITHIN)
        sent = {**({"Accept": STREAM} if method == "GET" else {}), **self._headers, **headers}
        body: Any = {} if message is None else {"json": message}
        expected = f"a response to {method} within {_WITHIN:g} s"
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
                http.request(method, self._url, headers=sent, allow_redirects=False, **body) as response,
            ):
                text = "" if method == "GET" and _is_stream(response) else await _body(response)
                if message is not None and "id" in message and _is_stream(response):
                    session = session_headers(response.headers.get(SESSION), None)
                    text += await self._resumed(http, text, {**session, **sent})
                reply = EndpointReply(response.status, response.headers.copy(), text)
        except TimeoutError:
            raise Violation(expected, "none", timed=True) from None
        except (aiohttp.ClientError, OSError) as problem:
            await self._workbench.holds_for(_LAST_MOMENT, self._proxy.must_still_serve)
            raise Violation(
                expected, f"the connection broke: {str(problem) or type(problem).__name__}", timed=False
            ) from problem
        self._workbench.note(f"{method} {(message or {}).get('method', '')} with {dict(headers)}: {reply}")
        return reply

    async def _resumed(self, http: aiohttp.ClientSession, text: str, headers: Mapping[str, str]) -> str:
        """What came of a stream after this text, up to the answer or as far as the program lets the client resume it."""
        decoder = EventDecoder(2 * _MAX_BODY)
        more = ""
        with anyio.move_on_after(_WITHIN):
            while not _ANSWER.search(text) and len(more) < _MAX_BODY:
                for _ in decoder.feed(text.encode()):
                    pass  # the decoder keeps the id of the last event
                if not decoder.last_id:
                    break
                await anyio.sleep(_PAUSE if decoder.retry is None else decoder.retry / 1000)
                sent = resuming(headers, decoder.last_id) | {"Accept": STREAM}
                async with http.get(self._url, headers=sent, allow_redirects=False) as response:
                    if response.status != 200 or not _is_stream(response):
                        break
                    decoder.restart()
                    text = await _body(response)
                more += text
        return more


def needs_streamable_http(workbench: Workbench) -> None:
    """Raise `NotApplicable` unless the client reaches the program over Streamable HTTP."""
    if workbench.sut.profile.client.transport != "http":
        raise NotApplicable("the client does not reach the program over Streamable HTTP")


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    return response.content_type == STREAM


async def _body(response: aiohttp.ClientResponse) -> str:
    """The body as far as a check needs it. A stream may never end, and a broken body tells less than the status."""
    import aiohttp

    body = b""
    try:
        while len(body) < _MAX_BODY and (chunk := await response.content.read(_MAX_BODY)):
            body += chunk
            if _is_stream(response) and _ANSWER.search(body.decode(errors="replace")):
                break
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass
    return body.decode(errors="replace")
