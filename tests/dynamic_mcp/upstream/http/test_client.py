"""HTTP requests to one server: their headers, their proxy, and what an error may contain."""

from __future__ import annotations

import asyncio
import base64
import os
import resource
import socket
import ssl
import sys
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import HttpStatus, TooLarge, UpstreamFailed, UpstreamGone
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from dynamic_mcp.origin import origin_of
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.http import client as client_module
from dynamic_mcp.upstream.http.client import HttpClient, _merged
from dynamic_mcp.upstream.http.cookies import Cookies
from dynamic_mcp.upstream.http.library import DEAD_AFTER, MAX_INTERIM, notice_dead_peers, open_socket
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.upstream.http.scripted_server import Request, site

SECRET = "canary-5e1d"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@asynccontextmanager
async def connected_client(
    tmp_path: Path, url: str, headers: Mapping[str, str] | None = None
) -> AsyncIterator[HttpClient]:
    """A client that has no tokens."""
    transport = RemoteTransport(Secret(url))
    client = HttpClient(url, headers or {}, Authorization("a", transport, FileStore("a", tmp_path)))
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def say_hello(request: Request) -> None:
    request.answer(200, b"hello")


def test_later_headers_win_in_any_case_of_the_name() -> None:
    merged = _merged(
        {"User-Agent": "own", "Accept": "a"}, {"ACCEPT": "b", "X-One": "1"}, {"user-agent": "theirs"}
    )

    assert merged == {"user-agent": "theirs", "ACCEPT": "b", "X-One": "1"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x?y", "http://A:80/z", True),
        ("https://a/", "https://a:443/", True),
        ("https://a/", "http://a/", False),
        ("http://a/", "http://a:8080/", False),
        ("http://a/", "http://a.b/", False),
        ("http://user@a/", "http://a/", True),
        ("http://[::1]/", "http://[::1]:80/", True),
    ],
)
def test_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is same


@pytest.mark.parametrize(
    ("url", "environment", "allowed"),
    [
        ("https://host/", {}, True),
        ("HTTPS://host/", {"ALL_PROXY": "http://p:1"}, True),
        ("http://localhost:8080/", {}, True),
        ("http://127.9.9.9/", {}, True),
        ("http://[::1]:80/", {}, True),
        ("http://host/", {}, False),
        ("HTTP://HOST/", {}, False),
        ("http://localhost.example/", {}, False),
        ("http://127.0.0.1.example/", {}, False),
        ("http://user@10.0.0.1/", {}, False),
        ("http://localhost@10.0.0.1/", {}, False),
        ("http://localhost/", {"HTTP_PROXY": "http://p:1"}, True),
    ],
)
async def test_require_https_refuses_plain_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], allowed: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    transport = RemoteTransport(Secret(url))
    client = HttpClient(url, {}, Authorization("a", transport, FileStore("a", tmp_path)), require_https=True)

    if allowed:
        await client.start()
    else:
        with pytest.raises(UpstreamFailed, match="is not https://") as caught:
            await client.start()
        assert "host" not in str(caught.value).lower()
    await client.close()


async def test_requests_use_the_proxy_except_for_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(say_hello) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        async with (
            connected_client(tmp_path, "http://far.example/mcp?k=v") as client,
            client.request("GET", {}) as reply,
        ):
            assert await reply.body(10) == b"hello"
        assert [request.target for request in proxy.requests] == ["http://far.example/mcp?k=v"]
        async with site(say_hello) as near:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            async with connected_client(tmp_path, near.url) as client, client.request("GET", {}) as reply:
                assert reply.status == 200
        assert len(proxy.requests) == 1


async def test_configured_headers_win_and_go_with_every_request(tmp_path: Path) -> None:
    headers = {"user-agent": "configured", "X-Key": "é"}
    async with site(say_hello) as server, connected_client(tmp_path, server.url, headers) as client:
        for method in ("GET", "POST"):
            async with client.request(method, {"User-Agent": "mine", "Accept": "x/y"}) as reply:
                assert reply.status == 200
    for request in server.requests:
        assert request.headers["user-agent"] == "configured"
        assert request.headers["x-key"].encode("latin-1").decode() == "é"
        assert request.headers["accept"] == "x/y"


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_credentials_in_url_and_header_are_refused(tmp_path: Path, name: str) -> None:
    url = f"https://user:{SECRET}@far.example/mcp"

    with pytest.raises(UpstreamFailed) as raised:
        async with connected_client(tmp_path, url, {name: f"Bearer {SECRET}"}):
            pass

    assert str(raised.value) == (
        "its url holds credentials, and so does its Authorization header; remove one of them"
    )


async def test_token_replaces_credentials_in_the_url(tmp_path: Path) -> None:
    store = FileStore("a", tmp_path)
    async with site(say_hello) as server:
        url = server.url.replace("//", f"//user:{SECRET}@")
        transport = RemoteTransport(Secret(url))
        for token in (None, "token"):
            if token is not None:
                client = ClientRegistration("made", registered=True)
                place = server.url
                store.save(Tokens(token, resource=place, issuer=place, token_endpoint=place, client=client))
            http = HttpClient(url, {}, Authorization("a", transport, store))
            await http.start()
            async with http.request("GET", {}) as reply:
                assert reply.status == 200
            await http.close()

    basic = base64.b64encode(f"user:{SECRET}".encode()).decode()
    assert [request.headers["authorization"] for request in server.requests] == [
        f"Basic {basic}",
        "Bearer token",
    ]


async def test_cookies_go_back_with_the_configured_one(tmp_path: Path) -> None:
    async def with_cookie(request: Request) -> None:
        request.answer(200, b"", Set_Cookie="lb=n0de+/=; Path=/; Domain=other.example")

    async with (
        site(with_cookie) as server,
        connected_client(tmp_path, server.url, {"cookie": "own=1"}) as client,
    ):
        for _ in range(2):
            async with client.request("GET", {}):
                pass
    assert [request.headers["cookie"] for request in server.requests] == ["own=1", "own=1; lb=n0de+/="]


def test_invalid_cookies_take_little_time() -> None:
    cookies, began = Cookies(None), time.process_time()

    cookies.take([f"a={' ' * 100_000}\x01x", f"a{' ' * 100_000}b", "a" * 100_000], "http://127.0.0.1/")

    assert cookies.values == []
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_within_the_origin_are_followed(tmp_path: Path, status: int) -> None:
    async def redirect(request: Request) -> None:
        if request.target.startswith("/there/"):
            request.answer(200, request.body)
        else:
            request.answer(status, b"", Location="/there/?a=b#c")

    async with (
        site(redirect) as server,
        connected_client(tmp_path, server.url, {"X-Key": "k"}) as client,
        client.request("POST", {"X-One": "1"}, b"body") as reply,
    ):
        assert await reply.body(10) == b"body"
    _, second = server.requests
    assert (second.method, second.target) == ("POST", "/there/?a=b")
    assert second.headers["x-key"] == "k"
    assert second.headers["x-one"] == "1"


async def test_redirects_have_a_bound_and_other_origins_get_nothing(tmp_path: Path) -> None:
    async def circle(request: Request) -> None:
        request.answer(307, b"", Location=request.target)

    async def away(request: Request) -> None:
        request.answer(307, b"", Location=f"http://user:{SECRET}@other.example:81/{SECRET}")

    async with site(circle) as server, connected_client(tmp_path, server.url) as client:
        with pytest.raises(UpstreamFailed, match="more than 5 times"):
            async with client.request("POST", {}, b""):
                pass
        assert len(server.requests) == 6
    async with site(away) as server, connected_client(tmp_path, server.url) as client:
        with pytest.raises(UpstreamFailed, match=r"another origin, http://other\.example:81, ") as caught:
            await client.post({}, b"")
    assert SECRET not in str(caught.value)


async def test_the_words_of_a_refusal_are_short_and_show_no_secret(tmp_path: Path) -> None:
    async def refuse(request: Request) -> None:
        shown = f"{request.headers.get('cookie')} {request.headers['x-key']}"
        page = f"<head><title>x</title></head><p>Not\n today,&nbsp;{shown}</p>{'!' * 600}"
        request.answer(403, page.encode(), kind="text/html; charset=utf-8", Set_Cookie=f"lb={SECRET}")

    headers = {"X-Key": "canary-key"}
    async with site(refuse) as server:
        transport = RemoteTransport(Secret(server.url), (("X-Key", Secret("canary-key")),))
        authorization = Authorization("a", transport, FileStore("a", tmp_path))
        client = HttpClient(server.url, headers, authorization, hidden=transport.hidden())
        await client.start()
        for _ in range(2):
            with pytest.raises(HttpStatus, match="HTTP 403") as caught:
                await client.post({}, b"")
        await client.close()
    assert caught.value.last_output.startswith("Not today, lb=[hidden] [hidden] !!!")
    assert len(caught.value.last_output) < 520


async def test_the_words_of_a_refusal_show_no_token_of_another_request(tmp_path: Path) -> None:
    """The token changes while the first request waits for its refusal."""
    renewed = asyncio.Event()

    async def echo(request: Request) -> None:
        if request.body == b"second":
            request.answer(200)
            return
        await renewed.wait()
        request.answer(400, f"bad: {request.headers['authorization']}".encode())

    async with site(echo) as server:
        transport = RemoteTransport(Secret(server.url))
        authorization = Authorization("a", transport, FileStore("a", tmp_path))
        await authorization.tokens.keep(Tokens(f"first-{SECRET}"))
        client = HttpClient(server.url, {}, authorization)
        await client.start()
        first = asyncio.create_task(client.post({}, b"first"))
        await eventually(lambda: bool(server.requests), "the first request arrives")
        await authorization.tokens.keep(Tokens(f"second-{SECRET}"))
        await client.post({}, b"second")
        renewed.set()
        with pytest.raises(HttpStatus) as caught:
            await first
        await client.close()
    assert server.requests[1].headers["authorization"] == f"Bearer second-{SECRET}"
    assert caught.value.last_output == "bad: Bearer [hidden]"


async def test_the_words_of_a_refusal_show_no_cookie_that_the_same_reply_replaces(tmp_path: Path) -> None:
    async def rotate(request: Request) -> None:
        count = len(server.requests)
        words = f"{request.headers.get('cookie')} or {count}-{SECRET}"
        request.answer(400, words.encode(), Set_Cookie=f"session={count}-{SECRET}")

    async with site(rotate) as server, connected_client(tmp_path, server.url) as client:
        for shown in ("None or [hidden]", "session=[hidden] or [hidden]"):
            with pytest.raises(HttpStatus) as caught:
                await client.post({}, b"")
            assert caught.value.last_output == shown


async def test_oversized_body_is_not_read_to_its_end(tmp_path: Path) -> None:
    async def endless(request: Request) -> None:
        request.begin(200, "application/json")
        request.write(b"x" * 2000)
        await request.gone()

    async with site(endless) as server, connected_client(tmp_path, server.url) as client:
        async with asyncio.timeout(WITHIN):
            with pytest.raises(UpstreamFailed, match="larger than"):
                async with client.request("GET", {}) as reply:
                    await reply.body(1000)


async def test_unread_body_closes_the_connection(tmp_path: Path) -> None:
    seen = asyncio.Event()

    async def endless(request: Request) -> None:
        request.begin()
        await request.gone()
        seen.set()

    async with site(endless) as server, connected_client(tmp_path, server.url) as client:
        async with client.request("GET", {}):
            pass
        async with asyncio.timeout(WITHIN):
            await seen.wait()


async def test_connections_notice_a_peer_that_is_gone_without_a_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[socket.socket] = []

    def remembered(place: tuple[Any, ...]) -> socket.socket:
        opened.append(open_socket(place))
        return opened[-1]

    monkeypatch.setattr(client_module, "open_socket", remembered)
    async with site(say_hello) as server, connected_client(tmp_path, server.url) as client:
        async with client.request("GET", {}) as reply:
            assert await reply.body(1000) == b"hello"
        (connection,) = opened
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other names for the options")
def test_a_dead_peer_is_noticed_in_the_time_that_is_promised() -> None:
    with socket.socket() as connection:
        notice_dead_peers(connection)
        idle, interval, probes = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
    assert idle + interval * probes == DEAD_AFTER


async def cause(tmp_path: Path, url: str, headers: Mapping[str, str] | None = None) -> str:
    """The error text of a request to ``url``."""
    async with connected_client(tmp_path, url, headers) as client, asyncio.timeout(WITHIN):
        with pytest.raises(UpstreamFailed) as raised:
            async with client.request("POST", {"X": SECRET}, SECRET.encode()) as reply:
                await reply.body(1 << 20)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    return str(raised.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"http://{SECRET}.invalid/", "could not be reached"),
        (f"http://127.0.0.1:1/{SECRET}", "could not be reached: Connection refused"),
        (f"http://localhost:1/?k={SECRET}", "could not be reached"),
    ],
)
async def test_error_names_the_cause_but_no_address(tmp_path: Path, url: str, expected: str) -> None:
    text = await cause(tmp_path, url)

    assert expected in text
    for part in (SECRET, "127.0.0.1", "localhost", ":1"):
        assert part not in text


@pytest.mark.parametrize(
    "url",
    [
        f"http://{SECRET}:99999/",
        f"http://[{SECRET}/",
        f"{SECRET}:80/mcp",
        f"http:/{SECRET}/",
        f"ftp://{SECRET}/",
        "",
    ],
)
async def test_invalid_url_is_a_failure_of_the_server(tmp_path: Path, url: str) -> None:
    with pytest.raises(UpstreamFailed) as raised:
        async with connected_client(tmp_path, url):
            pass

    assert str(raised.value) == "its url is not an address of http or https; write it as in https://host/path"


async def test_error_contains_no_header(tmp_path: Path) -> None:
    async with site(say_hello) as server:
        with pytest.raises(UpstreamFailed) as raised:
            async with connected_client(tmp_path, server.url, {"X-Key": f"a\r\n{SECRET}: 1"}):
                pass

    assert (
        str(raised.value)
        == "its headers.X-Key has a line end or another control character; a header is one line"
    )
    assert not server.requests


async def test_error_contains_nothing_from_the_server(tmp_path: Path) -> None:
    async def garbled(request: Request) -> None:
        request.write(f"{SECRET}\r\n\r\n".encode())

    async def broken(request: Request) -> None:
        request.begin(200, "application/json", Content_Length="100")
        request.write(SECRET.encode())

    for handler in (garbled, broken):
        async with site(handler) as server:
            text = await cause(tmp_path, f"{server.url}?{SECRET}")
        assert SECRET not in text
        assert server.origin.rpartition(":")[2] not in text
    assert "lost before the answer was complete" in text


async def test_unreachable_proxy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:1")

    text = await cause(tmp_path, "http://far.example/")

    assert text == "the proxy could not be reached: Connection refused"


async def test_proxy_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://user:{SECRET}@127.0.0.1:1")

    with pytest.raises(UpstreamFailed, match="neither http:// nor https://") as caught:
        async with connected_client(tmp_path, "http://far.example/"):
            pass
    assert SECRET not in str(caught.value)


async def test_server_without_tls_fails_the_tls_handshake(tmp_path: Path) -> None:
    def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    text = await cause(tmp_path, f"https://127.0.0.1:{port}/{SECRET}")

    server.close()
    assert text.startswith("the TLS connection failed: ")
    assert SECRET not in text


async def test_untrusted_certificate_is_named_as_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_authority() -> ssl.SSLContext:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    trustme = pytest.importorskip("trustme")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_side)
    monkeypatch.setattr(ssl, "create_default_context", no_authority)
    server = await asyncio.start_server(
        lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_side
    )
    port = server.sockets[0].getsockname()[1]

    text = await cause(tmp_path, f"https://127.0.0.1:{port}/{SECRET}")

    server.close()
    assert text.startswith("the server's certificate is not valid: ")
    assert SECRET not in text
    assert "127.0.0.1" not in text


async def test_request_after_close_sends_nothing(tmp_path: Path) -> None:
    async with site(say_hello) as server:
        async with connected_client(tmp_path, server.url) as client:
            pass
        with pytest.raises(UpstreamGone, match="closed"):
            async with client.request("GET", {}):
                pass
        assert not server.requests


async def test_size_limit_applies_to_the_decompressed_body(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = b"".join(packer.compress(b"x" * MIB) for _ in range(256)) + packer.flush()

    async def answer(request: Request) -> None:
        request.answer(200, packed, Content_Encoding="gzip")

    async with site(answer) as server, connected_client(tmp_path, server.url) as client:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with client.request("POST", {}, b"{}") as reply:
            with pytest.raises(TooLarge, match="larger than 1 MiB"):
                await reply.body(MIB)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_name_of_a_server_elsewhere_does_not_lead_to_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of a name can change its addresses while the proxy runs."""
    monkeypatch.setenv("NO_PROXY", "*")
    url = "http://mcp.test:9/mcp"
    authorization = Authorization("a", RemoteTransport(Secret(url)), FileStore("a", tmp_path))
    assert authorization.admitted(["93.184.216.34"]) == ["93.184.216.34"]

    async def resolve(*name: object, **options: object) -> object:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    client = HttpClient(url, {}, authorization)
    await client.start()
    try:
        with pytest.raises(UpstreamFailed, match=r"^its name leads to this machine \(127.0.0.1\)"):
            async with client.request("GET", {}):
                pass
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("coding", "bits"), [("gzip", 31), ("Deflate", 15), ("deflate", -15), ("identity", 0)]
)
async def test_reply_compressed_once_is_read_although_nothing_asked_for_it(
    tmp_path: Path, coding: str, bits: int
) -> None:
    packer = zlib.compressobj(wbits=bits or 15)
    body = packer.compress(b"hello") + packer.flush() if bits else b"hello"

    async def answer(request: Request) -> None:
        request.answer(200, body, Content_Encoding=coding)

    async with site(answer) as server, connected_client(tmp_path, server.url) as client:
        async with client.request("GET", {}) as reply:
            assert await reply.body(10) == b"hello"
        assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip,identity,br", "x-gzip", "compress", "x" * 99])
async def test_reply_with_another_coding_is_refused(tmp_path: Path, coding: str) -> None:
    async def answer(request: Request) -> None:
        request.answer(200, b"hello", Content_Encoding=coding)

    async with site(answer) as server, connected_client(tmp_path, server.url) as client:
        with pytest.raises(
            UpstreamFailed, match=f"has the content coding '{coding[:3]}.*once with gzip"
        ) as caught:
            async with client.request("GET", {}):
                pass
        assert len(str(caught.value)) < 160


async def test_body_that_is_not_what_its_coding_says_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    async def answer(request: Request) -> None:
        request.answer(200, b"hello", Content_Encoding="gzip")

    async with site(answer) as server, connected_client(tmp_path, server.url) as client:
        with pytest.raises(UpstreamFailed, match="cannot be decompressed"):
            async with client.request("GET", {}) as reply:
                await reply.body(10)


async def test_configured_header_asks_for_compression(tmp_path: Path) -> None:
    headers = {"Accept-Encoding": "gzip"}
    async with site(say_hello) as server, connected_client(tmp_path, server.url, headers) as client:
        async with client.request("GET", {}) as reply:
            assert reply.status == 200
        assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("count", [MAX_INTERIM, MAX_INTERIM + 1])
async def test_interim_replies_are_bounded(tmp_path: Path, count: int) -> None:
    async def answer(request: Request) -> None:
        request.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * count)
        request.answer(200, b"hello")

    async with site(answer) as server, connected_client(tmp_path, server.url) as client:
        if count == MAX_INTERIM:
            async with client.request("GET", {}) as reply:
                assert await reply.body(10) == b"hello"
        else:
            with pytest.raises(UpstreamGone, match="more than 100 interim replies"):
                async with client.request("GET", {}):
                    pass


@pytest.mark.parametrize(
    ("header", "connections"),
    [(b"", 1), (b"Keep-Alive: timeout=60, max=100\r\n", 1), (b"Keep-Alive: timeout=2\r\n", 4)],
)
async def test_connection_that_the_server_closes_soon_is_not_kept(
    tmp_path: Path, header: bytes, connections: int
) -> None:
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + header + b"\r\nhi")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        async with connected_client(tmp_path, url) as client:
            for _ in range(4):
                async with client.request("GET", {}) as reply:
                    assert await reply.body(MIB) == b"hi"
        await asyncio.wait([task for task in served if task is not None], timeout=WITHIN)
    assert len(served) == connections
