"""The filter of tools: names and patterns, one warning for each unused pattern, and one pass over each listing."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.groups.listing import MAX_ENTRIES, TOOLS, Listing
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.tool_filter import ToolFilter


def listing_of(*names: str) -> Listing:
    return Listing((name, Raw(b"{}")) for name in names)


@pytest.mark.parametrize(
    ("rules", "on", "off"),
    [
        (ToolRules(), ["a", ""], []),
        (ToolRules(allow=()), [], ["a", ""]),
        (ToolRules(allow=("a", "b*")), ["a", "b", "bc"], ["aa", "B", "ab"]),
        (ToolRules(deny=("a?", "*x*")), ["a", "abc"], ["ab", "x", "a\nx"]),
        (ToolRules(allow=("*",), deny=("a",)), ["b", "A"], ["a"]),
        (ToolRules(deny=("[ab]c", "t[1]")), ["cc", "[ab]"], ["ac", "bc", "[ab]c", "t[1]", "t1"]),
        (ToolRules(allow=("a.c",)), ["a.c"], ["abc"]),
        (ToolRules(deny=("[", "a|b")), ["a", "b"], ["[", "a|b"]),
    ],
)
def test_names_and_patterns(rules: ToolRules, on: list[str], off: list[str]) -> None:
    names = [*on, *off]

    assert ToolFilter("g", rules).allowed_names(names) == on


def test_reason_is_the_list_that_decides() -> None:
    tools = ToolFilter("g", ToolRules(allow=("a", "b"), deny=("b",)))

    assert [tools.switched_off_by(name) for name in "abc"] == ["", "tools.deny", "tools.allow"]


def test_allowed_part_keeps_order_size_and_cut() -> None:
    listing = listing_of("b", "a", "c")
    listing.size, listing.cut = 5, "cut"
    tools = ToolFilter("g", ToolRules(deny=("a",)))

    part = tools.allowed(listing)

    assert (list(part), part.size, part.cut) == (["b", "c"], 5, "cut")
    assert tools.allowed(listing) is part
    assert ToolFilter("g", ToolRules()).allowed(listing) is listing


def test_unused_pattern_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    tools = ToolFilter("g", ToolRules(allow=("a*", "x*"), deny=("ab", "y")))
    tools.allowed(listing_of("ab"))
    tools.allowed(listing_of("ab"))
    tools.with_rules(ToolRules(deny=("y", "z"))).allowed(listing_of("ab"))

    assert caplog.messages == [
        "group g: tools.allow: the server lists no tool that matches 'x*'",
        "group g: tools.deny: the server lists no tool that matches 'y'",
        "group g: tools.deny: the server lists no tool that matches 'z'",
    ]


def test_incomplete_listing_reports_nothing(caplog: pytest.LogCaptureFixture) -> None:
    listing = listing_of("a")
    listing.cut = "it has more than 1,000 pages"

    ToolFilter("g", ToolRules(deny=("b",))).allowed(listing)

    assert not caplog.messages


async def test_cache_shows_what_the_rules_of_now_allow(caplog: pytest.LogCaptureFixture) -> None:
    cache = ListingCache("g")
    cache.set_tools(ToolRules(deny=("b",)))

    async def make() -> Listing:
        return listing_of("a", "b")

    assert list(await cache.fill(TOOLS, make)) == ["a"]
    cache.set_tools(ToolRules(allow=("b", "c")))
    assert list(cache.get(TOOLS) or ()) == ["b"]
    assert caplog.messages == ["group g: tools.allow: the server lists no tool that matches 'c'"]
    cache.clear()
    assert list(cache.names(TOOLS) or ()) == ["b"]
    cache.set_tools(ToolRules())
    assert sorted(cache.names(TOOLS) or ()) == ["a", "b"]
    successor = ListingCache("g")
    successor.set_tools(ToolRules(deny=("a",)))
    successor.inherit(cache)
    assert list(successor.names(TOOLS) or ()) == ["b"]


async def test_longest_listing_and_nasty_patterns_do_not_stop_other_tasks() -> None:
    listing = listing_of(*(f"{'a' * 300}{number}" for number in range(MAX_ENTRIES)))
    tools = ToolFilter("g", ToolRules(deny=("*a" * 50 + "b", "*a*a*a*b")))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    part = await tools.prepare(listing)
    task.cancel()

    assert len(part) == MAX_ENTRIES
    assert turns > 5
