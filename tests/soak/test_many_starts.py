"""Three sessions with 35 upstreams each, whose starts take processor time: all become usable, hardly later than without a proxy."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from conformance.bench.starts import many_upstreams
from conformance.bench.targets import ProxyTarget
from conformance.model.sut import make_sut

ROUNDS = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    "SOAK_SECONDS" not in os.environ, reason="compares times, which other tests at the same time disturb"
)
def test_many_starts_take_hardly_longer_than_without_a_proxy(tmp_path: Path) -> None:
    ratios = []
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        ratios.append(many_upstreams(ProxyTarget(make_sut(())), folder)["many-starts"])
    assert statistics.median(ratios) <= 1.3, ratios
