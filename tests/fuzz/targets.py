"""What must hold for any input. A target takes bytes, and raises AssertionError or any other unexpected exception."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import httpx

from dynamic_mcp.config.load import parse as parse_configuration
from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.errors import ConfigError, UpstreamFailed
from dynamic_mcp.extras.early_answers import simple_servers
from dynamic_mcp.frontend.uritemplate import MAX_TEMPLATE, Matcher
from dynamic_mcp.oauth.callback import Callback
from dynamic_mcp.oauth.challenge import Challenge, challenge_of
from dynamic_mcp.oauth.metadata import Discovered, discover
from dynamic_mcp.origin import is_loopback
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.pieces import Line, size_of
from dynamic_mcp.upstream.http.event_stream import EventParser, ServerSentEvent

TARGETS: dict[str, Callable[[bytes], None]] = {}

_loop = asyncio.new_event_loop()


def _target(function: Callable[[bytes], None]) -> Callable[[bytes], None]:
    TARGETS[function.__name__] = function
    return function


def _chunks(data: bytes, sizes: bytes) -> Iterator[bytes]:
    """The data in chunks of these sizes, again and again."""
    at = turn = 0
    while at < len(data):
        size = 1 + sizes[turn % len(sizes)] if sizes else len(data)
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def _loads(text: bytes) -> Any:
    # Python limits the digits of an integer; the proxy does not read them.
    return json.loads(text, parse_int=str)


@_target
def message(data: bytes) -> None:
    """An accepted message becomes one line of valid JSON again; a refused one has a code and an id to answer with."""
    line = data.replace(b"\n", b" ")
    try:
        parsed = jsonrpc.parse(line)
    except jsonrpc.Malformed as problem:
        assert problem.code in (jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST)
        assert problem.id == jsonrpc.NULL or isinstance(_loads(problem.id), str | int | float)
        return
    for raw in (parsed.params, parsed.result, parsed.error):
        if raw:
            sent = jsonrpc.result(bytes(parsed.id) or b"1", bytes(raw))
            assert sent.count(b"\n") == 1
            assert b"\r" not in sent
            assert sent.endswith(b"\n")
            sent.decode()
            try:
                _loads(sent)
            except RecursionError:
                continue


@_target
def lines(data: bytes) -> None:
    """Every line up to the bound arrives, in order, however the stream is cut. Each dropped line is reported twice."""
    limit, count = (1 + data[0], data[1] % 8) if len(data) > 1 else (16, 0)
    sizes, stream = data[2 : 2 + count], data[2 + count :]
    reports: list[bool] = []
    splitter = LineSplitter(limit, lambda edge, last: reports.append(last))
    got = [line for chunk in _chunks(stream, sizes) for line in splitter.feed(chunk)]
    got += splitter.feed(b"\n")

    def short(found: Sequence[Line]) -> list[bytes]:
        return [line for line in found if isinstance(line, bytes) and line.strip() and len(line) <= limit]

    assert short(got) == short(stream.split(b"\n"))
    assert reports == [False, True] * (len(reports) // 2)


@_target
def events(data: bytes) -> None:
    """The events do not depend on the cuts between chunks."""
    count = data[0] % 8 if data else 0
    sizes, stream = data[1 : 1 + count], data[1 + count :]

    def read(chunks: Iterator[bytes]) -> list[ServerSentEvent]:
        parser = EventParser()
        return [event for chunk in chunks for event in parser.feed(chunk)]

    whole = read(iter([stream]))
    assert read(_chunks(stream, sizes)) == whole
    assert sum(size_of(event.data) for event in whole) <= len(stream)
    assert all("\n" not in event.type and "\0" not in (event.last_id) for event in whole)


_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
_EXPANDED = {
    "": "v",
    "+": "a/b?c",
    "#": "#v",
    ".": ".v",
    "/": "/v",
    ";": ";x=v",
    "?": "?x=v",
    "&": "&x=v",
}
_FEW = 8


@_target
def templates(data: bytes) -> None:
    """A template matches its own expansions, and one without expressions itself. Any pair has a verdict."""
    template, _, uri = data.decode(errors="replace").partition("\n")
    verdict = Matcher(uri).matches(template)
    assert isinstance(verdict, bool)
    assert Matcher(uri).matches(template, loosely=True) >= verdict
    if not _EXPRESSION.search(template):
        assert verdict or template != uri or len(template) > MAX_TEMPLATE
    elif len(_EXPRESSION.findall(template)) <= _FEW:
        assert Matcher(_EXPRESSION.sub("", template)).matches(template)
        assert Matcher(_EXPRESSION.sub(lambda found: _EXPANDED[found[1]], template)).matches(template)


@_target
def challenges(data: bytes) -> None:
    """A quoted value comes back as it was, and no text in quotes begins a challenge."""
    text = data.decode("latin-1")
    assert isinstance(challenge_of(text), Challenge)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert challenge_of(f'Bearer scope="{quoted}"') == Challenge(scope=text)
    assert challenge_of(f'Basic realm="{quoted}", Bearer error="x"') == Challenge(error="x")


_RESOURCE = "https://mcp.example/mcp"
_bodies = {"resource": b"", "server": b""}


def _answer(request: httpx.Request) -> httpx.Response:
    kind = "resource" if "oauth-protected-resource" in request.url.path else "server"
    return httpx.Response(200, stream=httpx.ByteStream(_bodies[kind]))


_http = httpx.AsyncClient(transport=httpx.MockTransport(_answer), trust_env=False)


@_target
def metadata(data: bytes) -> None:
    """Accepted metadata name the right resource and issuer, and only endpoints that are https or on this machine."""
    _bodies["resource"], _, _bodies["server"] = data.partition(b"\n")
    try:
        found: Discovered = _loop.run_until_complete(discover(_http, _RESOURCE, Challenge(), OAuthSettings()))
    except UpstreamFailed as failure:
        assert str(failure)
        return
    server = found.server
    for address in (server.authorization_endpoint, server.token_endpoint, server.registration_endpoint):
        if address is not None:
            url = httpx.URL(address) if address.isascii() else None
            assert url is None or url.scheme == "https" or is_loopback(url.host)
    assert _RESOURCE.startswith(found.resource.lower().rstrip("/"))


@_target
def configuration(data: bytes) -> None:
    """A configuration is valid, or has an error that names the file. What gets early answers is valid."""
    simple = simple_servers(data)
    try:
        config = parse_configuration(data, "fuzz.json", {"HOME": "/home/u", "NEXT": "${HOME}"})
    except ConfigError as error:
        assert str(error).startswith("fuzz.json: ")
        assert simple is None
        return
    assert config.audit is None or b"\0" not in os.fsencode(config.audit.file)
    names = [server.name for server in config.servers]
    assert len(set(names)) == len(names)
    assert not set(names) & set(config.switched_off)
    if simple is not None:
        assert set(simple) == {*names, *config.switched_off}


_STATE = "the-state"


class _Writer:
    """The end of a connection that keeps what it gets."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@_target
def callback(data: bytes) -> None:
    """Only the right state counts, and every connection gets one whole page or nothing, and is closed."""
    _loop.run_until_complete(_call_back(data))


async def _call_back(data: bytes) -> None:
    waiting = Callback("docs", _STATE)
    waiting.finish(None)
    reader, writer = asyncio.StreamReader(limit=16384), _Writer()
    reader.feed_data(data)
    reader.feed_eof()
    await waiting.serve(reader, cast("asyncio.StreamWriter", writer))
    assert writer.is_closed
    answered = asyncio.ensure_future(waiting.wait())
    await asyncio.sleep(0)
    if answered.done():
        answer = answered.result()
        assert data.startswith(b"GET ")
        assert answer.code or answer.error
        # `urlsplit` removes line ends and tabs, as browsers do.
        target = re.sub(r"[\t\r\n]", "", data.split(b" ")[1].decode("latin-1"))
        assert _STATE in httpx.QueryParams(target.partition("?")[2].partition("#")[0]).get_list("state")
    else:
        answered.cancel()
        assert not writer.written.startswith(b"HTTP/1.1 200")
    if writer.written:
        head, _, page = writer.written.partition(b"\r\n\r\n")
        assert len(head.split(b"\r\n")) == 8
        assert f"Content-Length: {len(page)}\r\n".encode() in head
