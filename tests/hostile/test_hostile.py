"""Every hostile server beside a healthy group: the healthy group answers, and the proxy's memory stays bounded.

`HOSTILE_SECONDS` is the time beside each server (default: 1). The bounds are generous, because other programs may use the machine;
`python -m conformance bench` measures the ratio.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mock_servers.hostile import HOSTILE
from tests.hostile.beside import MIB, measure

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "1"))
#: the maximum for 99 of 100 calls, in seconds
SLOWEST = 2.0
MAX_GROWTH = 256 * MIB
#: These end the healthy server itself, which runs as the same user. OPS-015 judges what stays of it.
ENDS_OTHERS = frozenset({"kills-its-siblings"})

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.timeout(SECONDS + 90),
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="reads the memory of the proxy from /proc"
    ),
]


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ENDS_OTHERS])
def test_healthy_group_does_not_suffer(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    effect = measure(tmp_path, HOSTILE[name], SECONDS)
    with capsys.disabled():
        print(f"\n{name}: {effect}")  # noqa: T201
    assert effect.beside.quantile(0.99) <= SLOWEST
    assert effect.growth <= MAX_GROWTH
