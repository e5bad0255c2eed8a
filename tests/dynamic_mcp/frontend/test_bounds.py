"""What a name, a list or a question of somebody else may cost, and how long a call may take as a whole."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend import catalog as catalog_module
from dynamic_mcp.frontend import exchange
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.exchange import elicit_by_request
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import RESOURCES, Freshness, Kind, Listing
from dynamic_mcp.upstream.base import Handshake
from tests.dynamic_mcp.fakes import Client, FakeGroup, FakeUpstream, server, silent_relay

LONG = "x" * 1_000_000


def client_with(tools: dict[str, bytes]) -> Client:
    client = Client()
    client.frontend = client.frontend_over(FakeGroup(server("files"), client.upstream, tools))
    return client


def call_of(method: str = "tools/call") -> Call:
    incoming = Incoming(b"1", method, Raw(b"{}"), lambda line: None)
    call = Call(incoming, silent_relay())
    call.group = FakeGroup(server("files"), FakeUpstream(modern=True))
    return call


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (LONG, {}),
        ("tools/call", {"name": LONG}),
        ("tools/call", {"name": CALL, "arguments": {"group": LONG, "name": "echo"}}),
        ("tools/call", {"name": CALL, "arguments": {"group": "files", "name": LONG}}),
        ("tools/call", {"name": CALL, "arguments": {"group": "files", "name": LONG, "args": 5}}),
        ("tools/call", {"name": GET, "arguments": {"group": "files", "name": LONG}}),
        ("resources/read", {"uri": LONG}),
        ("resources/read", {"uri": "a:b", "group": LONG}),
        ("prompts/get", {"name": LONG}),
    ],
)
@pytest.mark.parametrize("modern", [False, True])
async def test_messages_do_not_repeat_a_long_name(method: str, params: dict[str, Any], modern: bool) -> None:
    client = client_with({"y" * 8000: b"{}", **{f"{LONG[:8000]}{n}": b"{}" for n in range(100)}})
    answer = await client.ask(method, params, modern=modern)
    assert "error" in answer or answer["result"]["isError"]
    assert len(json.dumps(answer)) < 10_000


async def test_the_reason_of_a_refusal_is_cut() -> None:
    client = Client()
    refusal = json.dumps({"code": -32602, "message": LONG}).encode()
    client.upstream.answer = UpstreamRefused(refusal)
    answer = await client.echo()
    assert answer["result"]["isError"]
    assert len(json.dumps(answer)) < 20_000


async def test_similar_name_is_found_quickly_in_a_long_list() -> None:
    names = {f"generated-{n:06}-{'ab' * 20}": b"{}" for n in range(100_000)}
    client = client_with(names)
    began = time.process_time()
    answer = await client.tool(CALL, {"group": "files", "name": f"generated-00001-{'ab' * 20}"})
    assert time.process_time() - began < 1
    text = answer["result"]["content"][0]["text"]
    assert "Did you mean 'generated-000" in text
    assert text.endswith("and 99970 more.")


async def test_a_cut_list_says_so_to_the_model() -> None:
    class Cut(FakeGroup):
        async def listing(
            self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
        ) -> Listing:
            listing = await super().listing(kind, timeout)
            listing.cut = "it is larger than 32 MiB"
            return listing

    client = Client()
    client.frontend = client.frontend_over(Cut(server("files"), client.upstream))
    answer = await client.tool(CALL, {"group": "files", "name": "other"})
    assert answer["result"]["content"][0]["text"].endswith(
        "This list is incomplete: it is larger than 32 MiB."
    )


async def test_definitions_of_every_alphabet_come_back() -> None:
    definitions = {name: f'{{"name":"{name}","d":"\\"é😀\\n"}}'.encode() for name in ("a", "b")}
    answer = await client_with(definitions).tool(GET, {"group": "files"})
    text = answer["result"]["content"][0]["text"]
    assert text.encode() == b'{"group":"files","tools":[%b]}' % b",".join(definitions.values())


class Resources(FakeGroup):
    """Lists one resource, as if its pages had ``size`` bytes."""

    def __init__(self, name: str, size: int) -> None:
        upstream = FakeUpstream()
        upstream.agreed = Handshake({"resources": Raw(b"{}")})
        super().__init__(server(name), upstream)
        self._size = size

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        uri = f"{self.name}:1"
        listing = Listing({uri: Raw(b'{"uri":"%b"}' % uri.encode())} if kind is RESOURCES else {})
        listing.size = self._size
        return listing


async def test_the_longest_lists_are_missing_in_a_union_that_is_too_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(catalog_module, "MAX_UNION", 100)
    client = Client()
    client.frontend = client.frontend_over(Resources("a", 90), Resources("b", 40), Resources("c", 60))
    for _ in range(2):
        answer = await client.ask("resources/list")
        assert [entry["uri"] for entry in answer["result"]["resources"]] == ["b:1", "c:1"]
    alone = await client.ask("resources/list", {"group": "a"})
    assert [entry["uri"] for entry in alone["result"]["resources"]] == ["a:1"]
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "group a is missing in resources/list"
    ]


async def test_the_clock_of_a_call_counts_what_came_before_its_request() -> None:
    call = call_of()
    assert call.clock.left(1.0) == 1.0
    await asyncio.sleep(0.2)
    options = call.options(1.0)
    assert options.timeout is not None
    assert 0.1 < options.timeout <= 0.8
    assert call.clock.spent >= 0.2
    assert call.options(0.1).timeout == 0
    assert call.options(0.1, at_least=0.05).timeout == 0.05


async def test_a_short_wait_leaves_the_timeout_as_configured() -> None:
    call = call_of()
    call.clock.left(1.0)
    assert call.options(1.0).timeout == 1.0
    assert not call.clock.spent


QUESTION = b'{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create"}},"requestState":"s"}'


class Session(ClientSession):
    """A session of a client that answers each question after a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__(lambda line: None)
        self._seconds = seconds

    def has_capability(self, capability: str) -> bool:
        return True

    async def ask(
        self, group: Group, method: str, params: bytes, reply: Callable[[bytes], None] | None = None
    ) -> bytes:
        await asyncio.sleep(self._seconds)
        return b'{"action":"accept"}'


async def test_rounds_of_a_call_share_one_timeout_without_the_time_of_the_user() -> None:
    left: list[float] = []

    async def handler(call: Call) -> bytes:
        left.append(call.clock.left(1.0))
        await asyncio.sleep(0.05)
        return QUESTION if len(left) < 4 else b"{}"

    assert await elicit_by_request(handler, Session(0.2))(call_of()) == b"{}"
    assert left[0] == 1.0
    assert 0.5 < left[3] <= 0.85


async def test_questions_of_a_call_have_a_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_ASKING", 0.1)

    async def handler(call: Call) -> bytes:
        return QUESTION

    with pytest.raises(UpstreamFailed, match=r"its questions took more than 0\.1 s"):
        await elicit_by_request(handler, Session(0.04))(call_of())
