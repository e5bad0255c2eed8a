"""See ``soak``. ``SOAK_SECONDS`` says how long (30 without it), ``SOAK_SEED`` replays the schedule of an earlier run."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from tests.soak.soak import Soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 3 + 180)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descriptors and memory are read from /proc")
def test_nothing_leaks_and_no_answer_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 32)))
    report = Soak(tmp_path, seed, SECONDS).run()
    with capsys.disabled():
        # The seed is what replays a red run, so it is shown whether the run is red or not.
        print(f"\nsoak: SOAK_SEED={seed} SOAK_SECONDS={SECONDS:g}: {report}")  # noqa: T201
    assert report.problems == []
    assert report.right > report.calls / 2
    assert report.failed > 0
