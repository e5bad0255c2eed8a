"""Whatever shapes the messages of a proxy have, its faults are never faults of the runner."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.checks.loading import load_checks
from conformance.engine.execution import Execution, RunOptions
from conformance.engine.scheduler import schedule
from conformance.model.sut import make_sut
from conformance.model.verdicts import Verdict

PROGRAM = Path(__file__).parents[1] / "wrong_shapes.py"
#: checks that read many kinds of answers and of requests to an upstream
CLIENT = ("FRONT-009", "FRONT-010", "FRONT-015", "FRONT-019", "FRONT-025", "FRONT-029", "RLD-001")
UPSTREAMS = ("STD-011", "STD-014", "FRONT-019", "HARD-006")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("side", "ids"), [("client", CLIENT), ("upstreams", UPSTREAMS)])
async def test_no_shape_is_a_harness_error(side: str, ids: tuple[str, ...]) -> None:
    checks = load_checks()
    sut = make_sut((sys.executable, str(PROGRAM), "1", side, "{config}"))
    execution = Execution(replace(sut, max_wait=2.0), RunOptions(second_attempts=False))
    await schedule([(execution, replace(checks[id_], serial=False)) for id_ in ids], 4)
    verdicts = {id_: result.verdict for id_, result in execution.results.items()}
    assert Verdict.HARNESS_ERROR not in verdicts.values(), verdicts
    assert len(verdicts) == len(ids)
