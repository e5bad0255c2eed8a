"""Storms: what they bring to the client is bounded, and the last word always arrives."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from msgspec import Raw

from dynamic_mcp.frontend import storms
from dynamic_mcp.frontend.storms import CallProgress, Rates
from tests.dynamic_mcp.helpers import eventually


async def test_dropped_messages_are_counted_in_few_warnings(caplog: pytest.LogCaptureFixture) -> None:
    rates = Rates()
    with caplog.at_level(logging.WARNING):
        passed = sum(rates.allows("a", "notifications/message", 0) for _ in range(storms.BURST + 500))
    assert storms.BURST <= passed < storms.BURST + 500
    assert [record.getMessage() for record in caplog.records] == [
        "group a sends too much (notifications/message); messages that did not reach the client: 1"
    ]
    assert rates.allows("b", "notifications/message", 0)
    assert rates.allows("a", "notifications/elicitation/complete", 0)
    rates.close()


def reported(lines: list[bytes]) -> list[int]:
    """The values of progress notifications, which all carry the token of the client."""
    params = [json.loads(line)["params"] for line in lines]
    assert all(one["progressToken"] == "t" for one in params)
    return [one["progress"] for one in params]


async def test_few_reports_of_progress_all_arrive() -> None:
    lines: list[bytes] = []
    progress = CallProgress(lines.append, Raw(b'"t"'))
    for number in range(10):
        progress.pass_on({"progress": Raw(b"%d" % number), "progressToken": Raw(b"9")})
    assert reported(lines) == list(range(10))


async def test_newest_progress_of_a_storm_arrives_with_the_answer() -> None:
    lines: list[bytes] = []
    progress = CallProgress(lines.append, Raw(b'"t"'))
    for number in range(1000):
        progress.pass_on({"progress": Raw(b"%d" % number)})
    assert len(lines) <= storms.PROGRESS_BURST + 1
    progress.flush()
    assert reported(lines)[-1] == 999
    count = len(lines)
    await asyncio.sleep(2 * storms.PROGRESS_INTERVAL)
    assert len(lines) == count


async def test_newest_progress_of_a_storm_arrives_before_long() -> None:
    lines: list[bytes] = []
    progress = CallProgress(lines.append, Raw(b'"t"'))
    for number in range(1000):
        progress.pass_on({"progress": Raw(b"%d" % number)})
    await eventually(lambda: reported(lines)[-1] == 999, "the newest")


async def test_progress_of_a_cancelled_request_is_dropped() -> None:
    lines: list[bytes] = []
    progress = CallProgress(lines.append, Raw(b'"t"'))
    for number in range(1000):
        progress.pass_on({"progress": Raw(b"%d" % number)})
    progress.drop()
    count = len(lines)
    await asyncio.sleep(2 * storms.PROGRESS_INTERVAL)
    assert len(lines) == count


async def test_progress_of_a_long_storm_keeps_its_rate() -> None:
    lines: list[bytes] = []
    progress = CallProgress(lines.append, Raw(b'"t"'))
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 10 * storms.PROGRESS_INTERVAL:
        progress.pass_on({"progress": Raw(b"1")})
        await asyncio.sleep(0)
    assert len(lines) <= storms.PROGRESS_BURST + passed / storms.PROGRESS_INTERVAL + 1
    progress.drop()


@pytest.mark.parametrize("reports", [0, 1])
async def test_an_answer_without_a_report_just_before_does_not_wait(reports: int) -> None:
    progress = CallProgress(lambda line: None, Raw(b'"t"'))
    for _ in range(reports):
        progress.pass_on({"progress": Raw(b"1")})
        await asyncio.sleep(storms.PROGRESS_LEAD)
    with pytest.raises(StopIteration):
        progress.keep_distance().send(None)
