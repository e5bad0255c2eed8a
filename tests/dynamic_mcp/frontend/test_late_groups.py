"""A group that lists late keeps its names: a loose match of another group counts only without an exact one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, Kind
from dynamic_mcp.protocol.jsonrpc import Refusal
from tests.dynamic_mcp.frontend.test_hung_groups import LISTS, REQUEST, SOON, Hung, good
from tests.dynamic_mcp.frontend.test_owners import Lister, catalog_of, get, read

URI = "doc://1/x"


def loose() -> Lister:
    """A group with a template that matches the URI only loosely."""
    return Lister("loose", templates=["doc://{x}"])


@pytest.mark.parametrize(
    "names", [{"uris": [URI]}, {"templates": ["doc://{x}/{y}"]}], ids=["uri", "template"]
)
async def test_a_late_group_with_the_name_comes_before_a_loose_match(names: dict[str, Any]) -> None:
    slow = Hung("slow", RESOURCES, TEMPLATES, **names)
    asyncio.get_running_loop().call_later(20 * LISTS, slow.may_answer.set)
    async with asyncio.timeout(SOON):
        assert await read(catalog_of(loose(), slow), URI) == f"slow {URI}"


async def test_a_loose_match_counts_once_the_late_group_lists_without_the_name() -> None:
    slow = Hung("slow", RESOURCES, TEMPLATES, uris=["x://1"])
    asyncio.get_running_loop().call_later(20 * LISTS, slow.may_answer.set)
    async with asyncio.timeout(SOON):
        assert await read(catalog_of(loose(), slow), URI) == f"loose {URI}"


async def test_a_loose_match_waits_for_a_hung_group_once() -> None:
    hung = Hung("hung", RESOURCES, timeout=5 * LISTS)
    catalog = catalog_of(hung, loose())
    async with asyncio.timeout(SOON):
        assert await read(catalog, URI) == f"loose {URI}"
        timeouts = replace(hung.server.timeouts, resources=REQUEST)
        hung.server = replace(hung.server, timeouts=timeouts)
        assert await read(catalog, URI) == f"loose {URI}"


@pytest.mark.parametrize(
    ("use", "kind"), [(read, RESOURCES), (read, TEMPLATES), (get, PROMPTS)], ids=["uri", "template", "prompt"]
)
async def test_a_refusal_names_the_group_whose_list_did_not_come(use: Any, kind: Kind) -> None:
    catalog = catalog_of(good(), Hung("hung", kind, timeout=5 * LISTS))
    async with asyncio.timeout(SOON):
        with pytest.raises(Refusal, match=r"so not searched: hung$"):
            await use(catalog, "none:x")
