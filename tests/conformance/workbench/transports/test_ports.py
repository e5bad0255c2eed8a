"""Free ports: two runs at the same time never give the same one away."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain, repeat

import pytest

from conformance.workbench.transports import ports

_OTHER_RUN = """
import random, sys
from conformance.workbench.transports.ports import free_port
random.randrange = lambda first, last: int(sys.argv[1])
print(free_port(), flush=True)
sys.stdin.read()
"""


def test_a_port_of_another_run_is_not_given_away_before_that_run_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = ports.free_port()
    ports.give_back(mine)
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER_RUN, str(mine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert int(other.stdout.readline()) == mine
        next_one = ports.free_port()
        ports.give_back(next_one)
        numbers = chain([mine], repeat(next_one))
        with monkeypatch.context() as patch:
            patch.setattr("random.randrange", lambda first, last: next(numbers))
            assert ports.free_port() == next_one
        ports.give_back(next_one)
        other.stdin.close()
        assert other.wait(10) == 0
    monkeypatch.setattr("random.randrange", lambda first, last: mine)
    assert ports.free_port() == mine
    ports.give_back(mine)


def test_a_port_is_given_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ports.free_port()
    other = ports.free_port()
    ports.give_back(other)
    numbers = chain([mine], repeat(other))
    monkeypatch.setattr("random.randrange", lambda first, last: next(numbers))
    assert ports.free_port() == other
    ports.give_back(other)
    ports.give_back(mine)
