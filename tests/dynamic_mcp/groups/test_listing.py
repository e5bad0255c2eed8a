"""Listings: bounded, cut rather than refused, made once for all callers, and never stale."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.groups import listing as bounds
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Kind, Listing, list_all, usable
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.tool_filter import ToolFilter
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.tasks import Slices
from dynamic_mcp.upstream.base import Handshake
from tests.dynamic_mcp.fakes import FakeUpstream

CHANGED = "notifications/tools/list_changed"


class Pages(FakeUpstream):
    """Gives one page after the other; the cursor is the number of the next one."""

    def __init__(self, *pages: bytes, pause: float = 0.0) -> None:
        super().__init__()
        self.agreed = Handshake({name: Raw(b"{}") for name in ("tools", "resources", "prompts")})
        self._pages = pages
        self._pause = pause

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        self.requests.append((method, params))
        await asyncio.sleep(self._pause)
        number = int(json.loads(params or b"{}").get("cursor", "0"))
        more = number + 1 < len(self._pages)
        return self._pages[number] + (b',"nextCursor":"%d"}' % (number + 1) if more else b"}")


def page(*names: str, member: str = "tools", key: str = "name", size: int = 0) -> bytes:
    """The beginning of a page, without its end."""
    entries = [{key: name, **({"description": "x" * size} if size else {})} for name in names]
    return json.dumps({member: entries}).encode()[:-1]


async def test_pages_come_in_order_with_the_bytes_of_the_upstream() -> None:
    listing = await list_all(
        Pages(b'{"tools":[{ "name" : "b"}]', b'{"tools":[{"name":"a","x":1.0}]'), TOOLS, 1.0
    )
    assert {name: bytes(raw) for name, raw in listing.items()} == {
        "b": b'{ "name" : "b"}',
        "a": b'{"name":"a","x":1.0}',
    }
    assert list(listing) == ["b", "a"]
    assert not listing.cut


async def test_all_pages_together_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_BYTES", 4096)
    upstream = Pages(*(page(f"t{number}", size=1000) for number in range(100)))
    listing = await list_all(upstream, TOOLS, 1.0)
    assert list(listing) == ["t0", "t1", "t2"]
    assert listing.cut == "it is larger than 4 KiB"
    assert len(upstream.requests) == 4


async def test_a_page_with_too_many_entries_becomes_no_object_of_python() -> None:
    entries = ",".join(['{"uri":"x:a"}'] * (bounds.MAX_ENTRIES + 1))
    upstream = Pages(page("x:first", member="resources", key="uri"), f'{{"resources":[{entries}]'.encode())
    listing = await list_all(upstream, RESOURCES, 5.0)
    assert list(listing) == ["x:first"]
    assert listing.cut == "it has more than 100,000 entries"


async def test_templates_have_a_lower_bound() -> None:
    names = [f"t:{number}" for number in range(bounds.MAX_TEMPLATES + 1)]
    listing = await list_all(
        Pages(page(*names, member="resourceTemplates", key="uriTemplate")), TEMPLATES, 5.0
    )
    assert listing.cut == "it has more than 2,000 entries"


async def test_only_the_definition_with_a_long_name_is_left_out() -> None:
    longest = "n" * bounds.MAX_NAME
    listing = await list_all(Pages(page("a", longest + "n", longest)), TOOLS, 1.0)
    assert list(listing) == ["a", longest]
    assert listing.cut == "a name has more than 8,192 characters"


async def test_an_honest_server_with_20_mb_of_tools_loses_none() -> None:
    pages = [page(*(f"t{number}-{i}" for i in range(500)), size=4000) for number in range(10)]
    assert sum(map(len, pages)) > 20_000_000
    listing = await list_all(Pages(*pages), TOOLS, 10.0)
    assert len(listing) == 5000
    assert not listing.cut


async def test_all_pages_share_one_timeout() -> None:
    upstream = Pages(*(page(f"t{number}") for number in range(100)), pause=0.04)
    began = asyncio.get_running_loop().time()
    with pytest.raises(UpstreamTimeout, match=r"no complete answer to tools/list within 0\.1 s"):
        await list_all(upstream, TOOLS, 0.1)
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_long_page_is_read_in_slices() -> None:
    upstream = Pages(page(*(f"u:{number}" for number in range(90_000)), member="resources", key="uri"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    listing = await list_all(upstream, RESOURCES, 10.0)
    task.cancel()
    assert len(listing) == 90_000
    assert turns >= 5


@pytest.mark.parametrize(
    "answer",
    [
        '{"tools":5',
        '{"tools":{}',
        '{"tools":"none"',
    ],
)
async def test_anything_else_is_not_a_list(answer: str) -> None:
    with pytest.raises(UpstreamFailed, match="its answer to tools/list is not a list of tools"):
        await list_all(Pages(answer.encode()), TOOLS, 1.0)


@pytest.mark.parametrize(
    ("answer", "cut"),
    [
        ('{"tools":[5,{"name":"a"}]', "an entry is no definition"),
        ('{"tools":[null,{"name":"a"},{}]', "an entry is no definition"),
        ('{"tools":[{"name":"a"},{"name":5}]', "an entry is no definition"),
        ('{"tools":[{"name":"a"}],"nextCursor":5', "its cursor"),
        ('{"tools":[{"name":"a"}],"nextCursor":null', ""),
        ('{"tools":[{"name":"a"}],"nextCursor":false', ""),
    ],
)
async def test_one_bad_thing_costs_only_itself(answer: str, cut: str) -> None:
    listing = await list_all(Pages(answer.encode()), TOOLS, 1.0)
    assert [*listing] == ["a"]
    assert listing.cut.startswith(cut)
    assert bool(listing.cut) is bool(cut)


@pytest.mark.parametrize("answer", ['{"tools":null', '{"tool":[]', "{"])
async def test_a_missing_list_is_empty_and_cut(answer: str) -> None:
    listing = await list_all(Pages(answer.encode()), TOOLS, 1.0)
    assert not listing
    assert listing.cut == "it has no list of tools"
    assert usable(listing, TOOLS) is listing


@pytest.mark.parametrize(
    ("kind", "entry", "shown", "left_out"),
    [
        (
            PROMPTS,
            {"name": "p", "arguments": [{"description": "d"}, {"name": "x"}]},
            {"name": "p", "arguments": [{"name": "x"}]},
            "name",
        ),
        (
            PROMPTS,
            {"name": "p", "arguments": [{"name": "x", "required": "true"}]},
            {"name": "p", "arguments": [{"name": "x"}]},
            "required",
        ),
        (
            PROMPTS,
            {"name": "p", "arguments": {"type": "object"}, "title": 5},
            {"name": "p"},
            "arguments, title",
        ),
        (
            PROMPTS,
            {"name": "p", "description": ["a"], "_meta": [], "more": 5},
            {"name": "p", "more": 5},
            "_meta, description",
        ),
        (RESOURCES, {"uri": "b:1", "name": 5, "size": "12"}, {"uri": "b:1"}, "name, size"),
        (RESOURCES, {"uri": "b:1", "annotations": "x", "icons": "x"}, {"uri": "b:1"}, "annotations, icons"),
        (
            RESOURCES,
            {"uri": "b:1", "annotations": {"priority": 5, "audience": ["human"], "lastModified": "now"}},
            {"uri": "b:1", "annotations": {}},
            "audience, lastModified, priority",
        ),
        (
            RESOURCES,
            {"uri": "b:1", "icons": [{"src": "x", "sizes": "48x48", "theme": "blue"}]},
            {"uri": "b:1", "icons": [{"src": "x"}]},
            "sizes, theme",
        ),
        (
            TEMPLATES,
            {"uriTemplate": "b:{x}", "mimeType": 5, "description": {"en": "x"}},
            {"uriTemplate": "b:{x}"},
            "description, mimeType",
        ),
    ],
)
async def test_a_member_of_a_wrong_type_is_left_out(
    kind: Kind, entry: object, shown: object, left_out: str
) -> None:
    listing = await list_all(Pages(json.dumps({kind.member: [entry]}).encode()[:-1]), kind, 5.0)
    assert [json.loads(bytes(raw)) for raw in listing.values()] == [shown]
    assert listing.cut == f"members of a wrong type are left out: {left_out}"


async def test_entries_with_right_members_keep_their_bytes() -> None:
    entry = (
        b'{ "uri":"b:1","name":null,"size":12.0,"annotations":{"priority":1,"lastModified":"2025-01-12T15:00:58Z"},'
        b'"icons":[{"src":"x","sizes":["any"],"theme":"dark"}],"title":null,"_meta":{"a":1.0},"more":1e2}'
    )
    listing = await list_all(Pages(b'{"resources":[%b]' % entry), RESOURCES, 5.0)
    assert [bytes(raw) for raw in listing.values()] == [entry]
    assert not listing.cut


@pytest.mark.parametrize(
    ("kind", "bad", "good", "cut"),
    [
        (RESOURCES, "notes/1", "x:1", "a uri has no scheme"),
        (RESOURCES, "", "x:1", "a uri is empty"),
        (PROMPTS, "", "p", "a name is empty"),
    ],
)
async def test_a_key_that_clients_refuse_costs_only_its_entry(
    kind: Kind, bad: str, good: str, cut: str
) -> None:
    listing = await list_all(Pages(page(bad, good, member=kind.member, key=kind.key)), kind, 5.0)
    assert list(listing) == [good]
    assert listing.cut == cut


async def test_a_listing_of_which_nothing_can_be_used_is_an_error() -> None:
    listing = await list_all(Pages(b'{"tools":[null]'), TOOLS, 1.0)
    with pytest.raises(UpstreamFailed, match="nothing in its tools/list can be used"):
        usable(ToolFilter("a", ToolRules()).allowed(listing), TOOLS)
    partly = await list_all(Pages(b'{"tools":[null,{"name":"a"}]'), TOOLS, 1.0)
    assert not usable(ToolFilter("a", ToolRules(deny=("a",))).allowed(partly), TOOLS)


class Failing(FakeUpstream):
    """Gives one page with this cursor, and fails the next request."""

    def __init__(self, cursor: str, failure: Exception) -> None:
        super().__init__()
        self.agreed = Handshake({"tools": Raw(b"{}")})
        self._cursor = cursor
        self._failure = failure

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if params:
            raise self._failure
        return b'{"tools":[{"name":"a"}],"nextCursor":"%b"}' % self._cursor.encode()


@pytest.mark.parametrize(
    ("cursor", "failure", "cut"),
    [
        ("", UpstreamRefused(b'{"code":-32602,"message":"no"}'), ""),
        ("", UpstreamRefused(b'{"code":-32601,"message":"no"}'), ""),
        ("", UpstreamTimeout("late"), ""),
        ("x", UpstreamRefused(b'{"code":-32602,"message":"no"}'), "a later page is missing"),
        ("x", UpstreamFailed("the answer is malformed"), "a later page is missing"),
    ],
)
async def test_a_failed_later_page_costs_only_itself(cursor: str, failure: Exception, cut: str) -> None:
    listing = await list_all(Failing(cursor, failure), TOOLS, 1.0)
    assert [*listing] == ["a"]
    assert listing.cut.startswith(cut)
    assert bool(listing.cut) is bool(cut)


@pytest.mark.parametrize(
    ("cursor", "failure"),
    [("", UpstreamGone("gone")), ("x", UpstreamGone("gone")), ("x", UpstreamTimeout("late"))],
)
async def test_a_lost_connection_and_a_late_page_fail_the_listing(cursor: str, failure: Exception) -> None:
    with pytest.raises(type(failure)):
        await list_all(Failing(cursor, failure), TOOLS, 1.0)


def maker(names: list[str], pause: float = 0.0) -> Callable[[], Awaitable[Listing]]:
    """Makes listings with one name each; takes the name when it begins."""

    async def make() -> Listing:
        name = names.pop(0)
        await asyncio.sleep(pause)
        if name == "fail":
            raise UpstreamGone("it crashed")
        return Listing({name: Raw(b"{}")})

    return make


async def test_callers_at_the_same_time_share_one_listing() -> None:
    cache, names = ListingCache("a"), ["one", "two"]
    listings = await asyncio.gather(*(cache.fill(TOOLS, maker(names, 0.01)) for _ in range(64)))
    assert [list(listing) for listing in listings] == [["one"]] * 64
    assert names == ["two"]
    assert cache.get(TOOLS) is listings[0]


async def test_a_failure_reaches_all_callers_as_their_own_object() -> None:
    cache = ListingCache("a")
    make = maker(["fail", "two"], 0.01)
    errors = await asyncio.gather(*(cache.fill(TOOLS, make) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["it crashed"] * 3
    assert len({id(error) for error in errors}) == 3
    assert list(await cache.fill(TOOLS, make)) == ["two"]


async def test_a_cancelled_caller_leaves_the_listing_to_the_others() -> None:
    cache, make = ListingCache("a"), maker(["one"], 0.02)
    first, second = (asyncio.create_task(cache.fill(TOOLS, make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert list(await second) == ["one"]
    assert first.cancelled()


@pytest.mark.parametrize("connection_ends", ["before its callers leave", "after its callers left"])
async def test_a_listing_without_callers_goes_on_until_its_connection_ends(connection_ends: str) -> None:
    cache, ended = ListingCache("a"), asyncio.Event()

    async def make() -> Listing:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    callers = [asyncio.create_task(cache.fill(TOOLS, make)) for _ in range(2)]
    await asyncio.sleep(0.01)
    if connection_ends == "before its callers leave":
        cache.clear()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    if connection_ends == "after its callers left":
        assert not ended.is_set()
        cache.clear()
    async with asyncio.timeout(5):
        await ended.wait()
    assert list(await cache.fill(TOOLS, maker(["new"]))) == ["new"]


async def test_a_listing_that_lost_its_callers_serves_the_next_one() -> None:
    cache, make = ListingCache("a"), maker(["one"], 0.05)
    first = asyncio.create_task(cache.fill(TOOLS, make))
    await asyncio.sleep(0.01)
    first.cancel()
    assert list(await cache.fill(TOOLS, make)) == ["one"]


async def test_a_caller_after_the_change_gets_a_listing_from_after_it() -> None:
    cache, make = ListingCache("a"), maker(["old", "new"], 0.02)
    early = asyncio.create_task(cache.fill(TOOLS, make))
    await asyncio.sleep(0.005)
    cache.invalidate(CHANGED)
    late = asyncio.create_task(cache.fill(TOOLS, make))
    assert list(await late) == ["new"]
    assert list(await early) == ["new"]


async def test_a_listing_of_a_lost_connection_is_not_cached() -> None:
    cache, make = ListingCache("a"), maker(["old", "fail"], 0.01)
    early = asyncio.create_task(cache.fill(TOOLS, make))
    await asyncio.sleep(0.002)
    cache.clear()
    assert list(await cache.fill(TOOLS, maker(["new"]))) == ["new"]
    with pytest.raises(UpstreamGone):
        await early
    assert list(cache.get(TOOLS) or ()) == ["new"]


@given(st.lists(st.sampled_from(["call", "change", "wait"]), max_size=25))
async def test_no_answer_is_older_than_the_last_change_before_its_call(steps: list[str]) -> None:
    cache, version = ListingCache("a"), 0

    async def make() -> Listing:
        seen = str(version)
        for _ in range(3):
            await asyncio.sleep(0)
        return Listing({seen: Raw(b"{}")})

    async def call(kind: Kind, wanted: int) -> None:
        listing = cache.get(kind) or await cache.fill(kind, make)
        assert int(next(iter(listing))) >= wanted

    calls = []
    for step in steps:
        if step == "call":
            calls.append(asyncio.create_task(call(TOOLS, version)))
        elif step == "change":
            version += 1
            cache.invalidate(CHANGED)
        await asyncio.sleep(0)
    await asyncio.gather(*calls)


async def test_a_cut_listing_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = ListingCache("a")

    async def make() -> Listing:
        listing = Listing()
        listing.cut = "it is larger than 32 MiB"
        return listing

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await cache.fill(TOOLS, make)
            cache.invalidate(CHANGED)
    assert [record.getMessage() for record in caplog.records] == [
        "group a: the proxy uses only a part of its tools/list: it is larger than 32 MiB"
    ]


async def test_a_large_definition_is_left_out() -> None:
    listing = await list_all(Pages(page("a", size=bounds.MAX_DEFINITION), page("b")), TOOLS, 1.0)
    assert list(listing) == ["b"]
    assert listing.cut == "a definition is larger than 512 KiB"


async def test_entries_that_are_left_out_are_read_in_slices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rests = 0

    async def rest(self: Slices) -> None:
        nonlocal rests
        rests += 1

    monkeypatch.setattr(Slices, "rest", rest)
    entries = ['{"name":5}', '{"name":""}', json.dumps({"name": "n" * (bounds.MAX_NAME + 1)})] * 20
    listing = await list_all(Pages(f'{{"prompts":[{",".join(entries)}]'.encode()), PROMPTS, 1.0)
    assert not listing
    assert rests >= len(entries)
