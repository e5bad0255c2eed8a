"""The calls to which a request of a server can belong."""

from __future__ import annotations

import asyncio

import pytest

from dynamic_mcp.protocol import callers
from dynamic_mcp.protocol.callers import Callers
from dynamic_mcp.protocol.pending import NEVER, Pending


def pending(caller: object, method: str = "tools/call") -> Pending:
    return Pending(asyncio.get_running_loop().create_future(), method, NEVER, None, caller)


async def test_a_stream_tells_the_call_and_stdio_leaves_all() -> None:
    table = {1: pending("a"), 2: pending("b"), 3: pending("lists", "tools/list"), 4: pending(None)}
    found = Callers(table)
    assert found.of(None) == ("a", "b")
    assert found.of(2) == ("b",)
    assert found.of(4) == ()
    assert found.of(99) == ("a", "b")


async def test_call_without_an_answer_counts_until_its_late_answer_or_the_end_of_the_aftermath(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Callers({})
    found.abandoned(1, pending("a"))
    found.abandoned(2, pending("b"))
    found.abandoned(3, pending("lists", "resources/list"))
    assert found.of(None) == ("a", "b")
    found.answered(1)
    assert found.of(None) == ("b",)
    monkeypatch.setattr(callers, "AFTERMATH", -1.0)
    found.abandoned(2, pending("b"))
    assert found.of(None) == ()


async def test_number_of_calls_without_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MAX_ABANDONED", 2)
    found = Callers({})
    for number in range(5):
        found.abandoned(number, pending(number))
    assert found.of(None) == (3, 4)
