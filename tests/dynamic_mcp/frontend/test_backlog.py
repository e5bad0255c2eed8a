"""Which client loses its connection because of what waits for it."""

from __future__ import annotations

import asyncio

import pytest

from dynamic_mcp.frontend import backlog
from dynamic_mcp.frontend.backlog import Backlog
from tests.dynamic_mcp.helpers import eventually


class FakeOutlet:
    """A client for which ``size`` bytes wait. It takes all of them at some time, or none."""

    def __init__(self, size: int, *, reads: bool) -> None:
        self.size, self.reads, self.reason = size, reads, ""

    def unread(self) -> int:
        return self.size

    def stuck(self) -> int:
        return 0 if self.reads else self.size

    def cut(self, reason: str) -> None:
        self.size, self.reason = 0, reason


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STUCK_AFTER": 0.1,
        "MAX_UNREAD": 100,
        "MAX_UNREAD_OF_ALL": 250,
        "MAX_WAITING": 1000,
    }.items():
        monkeypatch.setattr(backlog, name, value)


async def cut_among(*outlets: FakeOutlet) -> list[int]:
    """The indices of those that are cut soon."""
    watch = Backlog(lambda: outlets)
    watch.grew()
    # Several looks.
    await asyncio.sleep(0.1)
    watch.close()
    return [index for index, outlet in enumerate(outlets) if outlet.reason]


@pytest.mark.parametrize(("size", "is_cut"), [(99, False), (100, False), (101, True), (900, True)])
async def test_client_that_takes_nothing_has_a_bound(size: int, is_cut: bool) -> None:
    assert await cut_among(FakeOutlet(size, reads=False)) == [0] * is_cut
    assert await cut_among(FakeOutlet(size, reads=True)) == []


async def test_clients_that_take_nothing_have_a_bound_together_and_the_largest_go_first() -> None:
    small, reader = FakeOutlet(80, reads=False), FakeOutlet(500, reads=True)
    assert await cut_among(small, FakeOutlet(90, reads=False), FakeOutlet(85, reads=False), reader) == [1]
    assert await cut_among(small, FakeOutlet(85, reads=False), FakeOutlet(85, reads=False), reader) == []


async def test_everything_that_waits_has_a_bound_and_the_largest_goes_at_once() -> None:
    outlets = FakeOutlet(10, reads=True), FakeOutlet(800, reads=True), FakeOutlet(190, reads=True)
    watch = Backlog(lambda: outlets)
    watch.grew()
    assert not any(outlet.reason for outlet in outlets)
    outlets[0].size += 1
    watch.grew()
    assert [bool(outlet.reason) for outlet in outlets] == [False, True, False]
    watch.close()


async def test_watch_ends_with_its_cause_and_begins_again() -> None:
    outlet = FakeOutlet(900, reads=True)
    watch = Backlog(lambda: [outlet])
    watch.grew()
    outlet.size = 10
    await eventually(lambda: watch._timer is None, "the end of the watch")
    outlet.size, outlet.reads = 900, False
    watch.grew()
    await eventually(lambda: outlet.reason, "the end of the client")
    await eventually(lambda: watch._timer is None, "the end of the watch")
