"""How long a list waits for a group, and what becomes of a part that comes later."""

from __future__ import annotations

import asyncio

import msgspec

from dynamic_mcp.config.model import Timeouts
from dynamic_mcp.frontend.patience import Patience
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, Freshness, Kind, Listing
from tests.dynamic_mcp.fakes import FakeGroup, server
from tests.dynamic_mcp.helpers import eventually


class Slow(FakeGroup):
    """A group whose listing waits for ``may_answer``."""

    def __init__(self) -> None:
        super().__init__(msgspec.structs.replace(server("slow"), timeouts=Timeouts(lists=0.05)))
        self.may_answer = asyncio.Event()
        self.asked = 0

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        self.asked += 1
        await self.may_answer.wait()
        return Listing()


async def test_a_late_part_is_reported_once_when_it_comes() -> None:
    group, late = Slow(), list[Kind]()
    patience = Patience(late.append)
    assert await patience.listing(group, PROMPTS) is None
    assert await patience.listing(group, PROMPTS) is None
    assert late == []
    group.may_answer.set()
    await eventually(lambda: late == [PROMPTS], "the part is there")
    assert await patience.listing(group, RESOURCES) == Listing()
    assert late == [PROMPTS]


async def test_a_cancelled_list_cancels_its_wait() -> None:
    group = Slow()
    patience = Patience(lambda kind: None)
    task = asyncio.ensure_future(patience.listing(group, PROMPTS))
    await eventually(lambda: group.asked, "the group is asked")
    task.cancel()
    await asyncio.wait([task])
    assert not patience._late


async def test_nothing_is_reported_after_the_end() -> None:
    group, late = Slow(), list[Kind]()
    patience = Patience(late.append)
    assert await patience.listing(group, PROMPTS) is None
    patience.close()
    await eventually(lambda: not patience._late, "the wait has ended")
    assert late == []
