"""The same filter for sign-ins: the requests to the authorization server, the address for the browser, and the callback."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlencode

import httpx
import msgspec

from conformance.mutants import replace
from dynamic_mcp.oauth import browser
from dynamic_mcp.oauth.callback import Callback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
    Members = dict[str, Any]
    Form = dict[str, str]

#: Members that only metadata of an authorization server has, and only metadata of a protected resource.
OF_SERVER, OF_RESOURCE = "token_endpoint", "authorization_servers"

#: Seconds for the head of a request to the callback address.
_HEAD_TIME = 5.0


# Requests to the authorization server


def around_requests(wrong: Callable[[httpx.Request, Send], Awaitable[httpx.Response]]) -> None:
    """Let ``wrong`` make each request to an authorization server."""
    right = httpx.AsyncClient.send

    async def send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        async def send_right(request: httpx.Request) -> httpx.Response:
            response = await right(self, request, **options)
            await response.aread()
            return response

        return await wrong(request, send_right)

    patch.object(httpx.AsyncClient, "send", send).start()


def change_forms(grant_type: str, change: Callable[[Form], Form]) -> None:
    """Change the form of each token request of this grant type."""

    async def wrong(request: httpx.Request, send: Send) -> httpx.Response:
        form = form_of(request)
        return await send(
            with_form(request, change(form)) if form.get("grant_type") == grant_type else request
        )

    around_requests(wrong)


def change_metadata(member: str, change: Callable[[Members, httpx.Request], Members]) -> None:
    """Change each JSON document that has this member (``OF_SERVER`` or ``OF_RESOURCE``), knowing the request for it."""

    async def wrong(request: httpx.Request, send: Send) -> httpx.Response:
        response = await send(request)
        document = document_of(response)
        return answer(request, 200, change(document, request)) if member in document else response

    around_requests(wrong)


def form_of(request: httpx.Request) -> Form:
    """The form of a token request; empty for another request."""
    return dict(parse_qsl(request.content.decode())) if request.method == "POST" else {}


def document_of(response: httpx.Response) -> Members:
    """The JSON object of a successful response; empty without one."""
    if response.status_code != 200:
        return {}
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def with_form(request: httpx.Request, form: Form) -> httpx.Request:
    """The request with another form."""
    return _again(request, str(request.url), data=form)


def with_url(request: httpx.Request, url: str) -> httpx.Request:
    """The request to another address."""
    return _again(request, url, content=request.content)


def answer(request: httpx.Request, status: int, document: object) -> httpx.Response:
    """A response that no server sent."""
    return httpx.Response(status, json=document, request=request)


def of_this_server(urls: Iterable[str], request: httpx.Request) -> str | None:
    """The first of the addresses that is on the server of the request."""
    return next((url for url in urls if httpx.URL(url).netloc == request.url.netloc), None)


def without(name: str) -> Callable[[Form], Form]:
    """Forms lose this parameter."""
    return lambda form: {key: value for key, value in form.items() if key != name}


def _again(request: httpx.Request, url: str, **body: Any) -> httpx.Request:
    of_the_body = ("content-length", "content-type", "host")
    headers = {name: value for name, value in request.headers.items() if name not in of_the_body}
    return httpx.Request(request.method, url, headers=headers, extensions=request.extensions, **body)


# The address for the browser


def change_addresses(change: Callable[[str], str]) -> None:
    """Change the address that the browser opens."""
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        await right(change(url), server)

    replace(right, wrong)


def change_queries(change: Callable[[Form], Form]) -> None:
    """Change the parameters of the address that the browser opens."""

    def changed(url: str) -> str:
        address, _, query = url.partition("?")
        return f"{address}?{urlencode(change(dict(parse_qsl(query))))}"

    change_addresses(changed)


# The callback


def around_callbacks(
    wrong: Callable[[Callback, bytes, asyncio.StreamWriter], Awaitable[tuple[bytes, Any]]],
) -> None:
    """Let ``wrong`` look at the head of each request of the browser: it returns the head and the writer that the proxy gets."""
    right = Callback.serve

    async def serve(self: Callback, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        again = asyncio.StreamReader()
        try:
            async with asyncio.timeout(_HEAD_TIME):
                head = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            head = b""
        head, out = await wrong(self, head, writer)
        again.feed_data(head)
        again.feed_eof()
        await right(self, again, out)

    replace(right, serve)


class Page:
    """A writer that changes the response to the browser."""

    def __init__(self, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]) -> None:
        self._writer = writer
        self._change = change

    def write(self, data: bytes) -> None:
        self._writer.write(self._change(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def with_text(response: bytes, text: bytes) -> bytes:
    """The response with a text at the end of its page."""
    head, _, page = response.partition(b"\r\n\r\n")
    page += text
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(page), head) + b"\r\n\r\n" + page
