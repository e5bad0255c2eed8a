"""Runs `soak` for `SOAK_SECONDS` (default: 10). `SOAK_SEED` replays the schedule of an earlier run."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from conformance.model.sut import make_sut
from conformance.workbench.workbench import open_workbench
from tests.soak import reloads
from tests.soak.soak import Soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 3 + 180)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads descriptors and memory from /proc")
def test_no_leak_and_no_wrong_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 32)))
    report = Soak(tmp_path, seed, SECONDS).run()
    with capsys.disabled():
        # The seed replays a failed run, so print it after every run.
        print(f"\nsoak: SOAK_SEED={seed} SOAK_SECONDS={SECONDS:g}: {report}")  # noqa: T201
    assert report.problems == []
    assert report.correct > report.calls / 2
    assert report.failed > 0
    assert report.reloads > 0


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform == "win32", reason="the workbench needs POSIX")
async def test_reloads_do_not_disturb_an_unchanged_server() -> None:
    report = reloads.ReloadReport()
    async with open_workbench(make_sut(), "RELOADS", keep=False) as workbench:
        await reloads.reload_repeatedly(workbench, report, seed=random.randrange(1 << 32))
    assert report.lost == []
    # On a quiet machine there are several thousand, and beside sixty busy processes 300.
    assert report.calls > 100
    assert report.direct > report.calls / 10
    # A stop of the proxy's processes by a busy machine delays one call of each caller; a stop at each save delays a hundred calls.
    assert len(report.delayed) <= 5 * reloads.CALLERS, report
