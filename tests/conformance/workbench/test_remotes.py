"""Remote upstreams: the workbench starts and ends them, and reads their journals."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import anyio
import anyio.to_thread
import pytest

from conformance.errors import HarnessError, NotApplicable, Violation
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench.remotes import RemoteMockUpstream, SingleHeaders
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.journal_views import HttpRequest
from mock_servers.remote_actions import respond
from mock_servers.script import Http, Rule, Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOT_STARTED = Sut("not-started", (sys.executable, "-c", "pass", "{config}"), Profile("not-started"))
BODY = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.fixture
async def workbench() -> AsyncIterator[Workbench]:
    async with open_workbench(NOT_STARTED, "TEST", keep=False) as made:
        yield made


async def fetch(url: str, body: bytes | None = None, context: ssl.SSLContext | None = None) -> bytes:
    def work() -> bytes:
        request = Request(url, data=body, headers={"X-Canary": "c"})
        with urlopen(request, timeout=5, context=context) as response:
            content = response.read()
        assert isinstance(content, bytes)
        return content

    return await anyio.to_thread.run_sync(work)


async def test_an_upstream_lists_the_requests_that_it_saw(workbench: Workbench) -> None:
    upstream = await workbench.http("a", Script(http=Http(path="/here")), headers={"X-A": "b"})
    assert upstream.entry == {
        "description": "The a upstream",
        "url": upstream.url,
        "headers": {"X-A": "b"},
    }
    assert b'"result"' in await fetch(upstream.url, BODY)
    (seen,) = upstream.posts("ping")
    assert (seen.method, seen.target, seen.status, seen.ended_by) == ("POST", "/here", 200, "server")
    assert (seen.header("x-canary"), seen.header("X-Missing"), seen.body) == ("c", None, BODY)
    assert [request.id for request in upstream.requests("ping")] == [1]
    assert upstream.posts("other") == []
    assert upstream.verbs == {"POST": 1}
    assert upstream.at("/x?y") == upstream.url.replace("/here", "/x?y")


async def test_the_entry_of_an_sse_upstream_has_a_type(workbench: Workbench) -> None:
    upstream = await workbench.sse("a")
    assert upstream.entry["type"] == "sse"
    other = upstream.variant("type", timeout={"tools": 1})
    assert "type" not in other.entry
    assert other.http == []


async def test_saw_nothing_fails_after_a_connection_without_a_request(workbench: Workbench) -> None:
    collector = await workbench.collector()
    collector.saw_nothing()
    with socket.create_connection(("127.0.0.1", urlsplit(collector.url).port or 0)):
        await workbench.eventually(lambda: collector.events("connection"), within=5.0, what="a connection")
    with pytest.raises(Violation):
        collector.saw_nothing()


async def test_a_stopped_upstream_refuses_connections(workbench: Workbench) -> None:
    upstream = await workbench.http("a")
    await upstream.stop()
    await upstream.stop()
    with pytest.raises(OSError, match="refused"):
        await fetch(upstream.url, BODY)
    again = await workbench.http("a", port=urlsplit(upstream.url).port or 0)
    assert again.url == upstream.url
    assert await fetch(again.url, BODY)


async def test_an_upstream_ends_with_the_workbench_and_is_no_leftover() -> None:
    async with open_workbench(NOT_STARTED, "TEST", keep=False) as workbench:
        await workbench.http("a")
        assert len(workbench.census.alive()) == 1
    assert workbench.census.alive() == []
    assert workbench.evidence.leftovers == []
    kinds = {event.kind for event in workbench.evidence.events if event.actor == "upstream a"}
    assert {"start", "listening", "exit"} <= kinds


async def test_a_mock_that_cannot_start_is_a_harness_error(workbench: Workbench) -> None:
    with pytest.raises(HarnessError, match="did not start"):
        await workbench.http("a", Script(on=[Rule("GET", [{**respond(200), "do": "nonsense"}])]))


class TestTls:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        pytest.importorskip("trustme", reason="trustme, of the extra conformance, is not installed")
        return tmp_path

    async def test_a_client_accepts_the_good_certificate_only_with_its_authority(
        self, workbench: Workbench, files: Path
    ) -> None:
        from conformance.workbench.certificates import Authority

        authority = Authority(files)
        upstream = await workbench.http("a", tls=authority.good())
        assert upstream.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(authority.file))
        assert b'"result"' in await fetch(upstream.url, BODY, trusting)
        await _refuses(upstream, ssl.create_default_context())

    async def test_a_client_refuses_bad_certificates_before_a_request(
        self, workbench: Workbench, files: Path
    ) -> None:
        from conformance.workbench.certificates import Authority

        authority = Authority(files)
        trusting = ssl.create_default_context(cafile=str(authority.file))
        bad = authority.bad()
        assert set(bad) == {"expired", "wrong-host", "unknown-authority", "self-signed"}
        for name, tls in bad.items():
            await _refuses(await workbench.http(name, tls=tls), trusting)


async def _refuses(upstream: RemoteMockUpstream, context: ssl.SSLContext) -> None:
    before = len(upstream.http)
    hellos = len(upstream.events("tls-hello"))
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(upstream.url, BODY, context)
    assert len(upstream.http) == before
    assert len(upstream.events("tls-hello")) == hellos + 1


def test_reading_a_repeated_header_is_a_violation() -> None:
    seen = (0.0, 1, 1, "GET", "/", [("X", "1"), ("x", "2"), ("Y", "3")], b"", None, None, None)
    assert HttpRequest(*seen).header("X") == "1, 2"
    assert SingleHeaders(*seen).header("y") == "3"
    with pytest.raises(Violation, match="2 of them"):
        SingleHeaders(*seen).header("X")


@pytest.mark.parametrize(
    ("absent", "kinds"),
    [
        ({}, ("http", "oauth")),
        ({"HTTP": "no"}, ("sse", "sse")),
        ({"SSE": "no"}, ("http", "oauth")),
    ],
)
async def test_a_remote_upstream_has_a_transport_of_the_implementation(
    absent: dict[str, str], kinds: tuple[str, str]
) -> None:
    sut = Sut("not-started", NOT_STARTED.command, Profile("not-started", absent=absent))
    async with open_workbench(sut, "TEST", keep=False) as made:
        plain, protected = await made.remote("a"), await made.oauth("b")
    assert made.has_remotes
    assert (plain.kind, protected.kind) == kinds


async def test_a_program_without_remote_servers_gets_none() -> None:
    sut = Sut("not-started", NOT_STARTED.command, Profile("not-started", absent={"HTTP": "no", "SSE": "no"}))
    async with open_workbench(sut, "TEST", keep=False) as made:
        assert not made.has_remotes
        with pytest.raises(NotApplicable):
            await made.remote("a")


async def test_an_entry_has_the_members_that_the_profile_requires() -> None:
    entries: dict[str, dict[str, object]] = {
        "stdio": {"type": "stdio"},
        "http": {"type": "http", "headers": {"X-A": "profile"}},
    }
    sut = Sut("not-started", NOT_STARTED.command, Profile("not-started", entries=entries))
    async with open_workbench(sut, "TEST", keep=False) as made:
        local, plain = made.stdio("a"), await made.http("b", headers={"X-A": "check"})
        protected, older = await made.oauth("c"), await made.sse("d")
    assert local.entry["type"] == "stdio"
    assert (plain.entry["type"], plain.entry["headers"]) == ("http", {"X-A": "check"})
    assert protected.entry["type"] == "http"
    assert older.entry["type"] == "sse"
