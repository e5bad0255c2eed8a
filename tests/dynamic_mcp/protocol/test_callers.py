"""The calls to which a request of a server can belong."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence

import pytest

from dynamic_mcp.protocol import callers
from dynamic_mcp.protocol.callers import AFTERMATH, Callers
from dynamic_mcp.protocol.pending import NEVER, ClientCall, Pending
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.fakes import NamedCall


def pending(call: NamedCall | None, method: str = "tools/call") -> Pending:
    return Pending(asyncio.get_running_loop().create_future(), method, NEVER, None, call)


def names(callers: Sequence[ClientCall]) -> list[object]:
    return [caller.name for caller in callers if isinstance(caller, NamedCall)]


async def test_a_stream_tells_the_call_and_stdio_leaves_all() -> None:
    table = {
        1: pending(NamedCall("a")),
        2: pending(NamedCall("b")),
        3: pending(NamedCall("lists"), "tools/list"),
        4: pending(None),
    }
    found = Callers(table)
    assert names(found.of(None)) == ["a", "b"]
    assert names(found.of(2)) == ["b"]
    assert found.of(4) == ()


async def test_a_stream_tells_the_call_also_after_its_end() -> None:
    found = Callers({2: pending(NamedCall("b"))})
    found.abandoned(1, pending(NamedCall("a")))
    assert names(found.of(1)) == ["a"]
    # The answer came, and the question after it on the same stream.
    found.answered(1)
    assert found.of(1) == ()
    assert found.of(99) == ()


async def test_call_without_an_answer_counts_until_its_late_answer_or_the_end_of_the_aftermath(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Callers({})
    found.abandoned(1, pending(NamedCall("a")))
    found.abandoned(2, pending(NamedCall("b")))
    found.abandoned(3, pending(NamedCall("lists"), "resources/list"))
    assert names(found.of(None)) == ["a", "b"]
    found.answered(1)
    assert names(found.of(None)) == ["b"]
    monkeypatch.setattr(callers, "AFTERMATH", -1.0)
    found.abandoned(2, pending(NamedCall("b")))
    assert found.of(None) == ()


async def test_call_is_released_after_the_aftermath_and_its_late_answer_is_known() -> None:
    found = Callers({})
    calls = [NamedCall(number) for number in range(3)]
    kept = [weakref.ref(call) for call in calls]
    for number, call in enumerate(calls[:2]):
        found.abandoned(number, pending(call))
    await skip(AFTERMATH / 2)
    found.abandoned(2, pending(calls[2]))
    del call, calls
    await skip(AFTERMATH / 2 + 1)
    gc.collect()
    assert [call() is None for call in kept] == [True, True, False]
    assert len(found.of(None)) == 1
    await skip(AFTERMATH)
    gc.collect()
    assert [call() is None for call in kept] == [True, True, True]
    assert found.answered(0)
    assert found.answered(2)
    assert not found.answered(2)


async def test_number_of_calls_without_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MAX_ABANDONED", 2)
    found = Callers({})
    for number in range(5):
        found.abandoned(number, pending(NamedCall(number)))
    assert names(found.of(None)) == [3, 4]
