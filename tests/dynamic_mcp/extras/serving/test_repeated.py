"""Warnings that come many times for one reason."""

from __future__ import annotations

import pytest

from dynamic_mcp.extras.serving.repeated import RepeatedWarning
from tests.dynamic_mcp.helpers import eventually


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def test_each_reason_has_one_line_and_then_a_number(caplog: pytest.LogCaptureFixture) -> None:
    warnings = RepeatedWarning()
    for number in range(5):
        warnings.warn(f"call {number}: 100 % down", "100 % down")
    warnings.warn("call 6: slow", "slow")
    assert lines(caplog) == ["call 0: 100 % down", "call 6: slow"]
    warnings.close()
    assert lines(caplog)[2:] == ["4 more of this: 100 % down"]
    warnings.warn("call 7: slow", "slow")
    assert lines(caplog)[3:] == ["call 7: slow"]
    warnings.close()


async def test_number_comes_after_the_interval_and_a_quiet_reason_is_new_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warnings = RepeatedWarning(0.01)
    warnings.warn("a", "down")
    warnings.warn("b", "down")
    await eventually(lambda: "1 more of this: down" in lines(caplog), "the number")
    await eventually(lambda: not warnings._counts, "the end of the interval without a warning")
    warnings.warn("c", "down")
    assert lines(caplog) == ["a", "1 more of this: down", "c"]
    warnings.close()
