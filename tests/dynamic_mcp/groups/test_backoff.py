"""The delay after a connection that the server ended in good order."""

from __future__ import annotations

import pytest

from dynamic_mcp.errors import HttpStatus, UpstreamError, UpstreamFailed
from dynamic_mcp.groups.backoff import MAX_PAUSE, RESTART_DELAY, SHORT, STEADY, Backoff
from tests.dynamic_mcp.clocks import ManualClock


def test_connection_that_served_for_a_while_is_made_again_at_once() -> None:
    clock = ManualClock()
    backoff = Backoff(clock)
    for _ in range(5):
        backoff.connected()
        clock.advance(SHORT)
        assert backoff.after_end()
        assert backoff.next == 0.0
    backoff.connected()
    assert not backoff.after_end()
    assert backoff.after_crash()
    assert backoff.next >= RESTART_DELAY


def test_times_are_those_of_the_documentation() -> None:
    """docs/running.md: a second after the first death, then as after failed starts; 30 seconds of service make a first one again."""
    clock = ManualClock()
    backoff = Backoff(clock)
    for expected, lasted in [
        (1.0, 0.0),
        (2.0, 29.0),
        (4.0, 0.0),
        (8.0, 0.0),
        (30.0, 0.0),
        (30.0, 0.0),
        (1.0, 30.0),
    ]:
        backoff.connected()
        clock.advance(lasted)
        backoff.after_crash()
        assert expected <= backoff.next <= 1.25 * expected


def test_failed_starts_are_repeated_at_the_documented_times() -> None:
    backoff = Backoff(ManualClock())
    for expected in (2.0, 4.0, 8.0, 30.0, 30.0):
        backoff.after_failure()
        assert expected <= backoff.next <= 1.25 * expected


def test_crash_after_a_steady_time_counts_as_the_first_one() -> None:
    clock = ManualClock()
    backoff = Backoff(clock)
    firsts = []
    for lasted in (0.0, STEADY - 1.0, STEADY):
        backoff.connected()
        clock.advance(lasted)
        firsts.append(backoff.after_crash())
    assert firsts == [True, False, True]


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (HttpStatus("", retry_after=20.0), 20.0),
        (HttpStatus("", retry_after=0.5), 0.5),
        (HttpStatus("", retry_after=3600.0), MAX_PAUSE),
        (HttpStatus(""), 0.0),
        (UpstreamFailed(""), 0.0),
    ],
)
def test_server_can_ask_for_a_longer_delay(error: UpstreamError, pause: float) -> None:
    backoff = Backoff(ManualClock())
    backoff.after_failure()
    usual = backoff.next
    assert backoff.pause(error) == pause
    assert backoff.next == max(usual, pause)
