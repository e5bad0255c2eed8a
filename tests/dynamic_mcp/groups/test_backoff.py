"""The delay after a connection that the server ended in good order."""

from __future__ import annotations

import time

import pytest

from dynamic_mcp.groups.backoff import RESTART_DELAY, SHORT, Backoff


def test_connection_that_served_for_a_while_is_made_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backoff = Backoff()
    for _ in range(5):
        backoff.connected()
        now += SHORT
        assert backoff.after_end()
        assert backoff.next == 0.0
    backoff.connected()
    assert not backoff.after_end()
    assert backoff.after_crash()
    assert backoff.next >= RESTART_DELAY
