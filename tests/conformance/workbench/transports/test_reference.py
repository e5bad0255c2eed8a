"""The reference gets the same verdicts behind Streamable HTTP and HTTP+SSE as on stdio; what has no meaning there is `n/a`."""

from __future__ import annotations

import anyio
import pytest

from conformance.checks.loading import load_checks
from conformance.engine.execution import Execution
from conformance.model.profile import Profile
from conformance.model.sut import make_sut
from conformance.model.verdicts import Verdict

#: the handshake, a call, progress, a modern request, a cancellation of each era; then a check of stdin alone
SELECTION = {
    "FRONT-001": Verdict.PASS,
    "FRONT-023": Verdict.PASS,
    "FRONT-024": Verdict.PASS,
    "FRONT-027": Verdict.PASS,
    "FRONT-006": Verdict.NOT_APPLICABLE,
}


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_the_reference_has_the_same_verdicts(transport: str) -> None:
    profile = Profile.load(f"reference-{transport}")
    execution = Execution(make_sut(profile=profile))
    checks = [check for check in load_checks().values() if check.id in SELECTION]
    async with anyio.create_task_group() as tasks:
        for check in checks:
            tasks.start_soon(execution.attempt, check)
    seen = {id: (result.verdict, result.message) for id, result in execution.results.items()}
    expected = dict(SELECTION)
    if transport == "sse":
        expected |= {
            check.id: Verdict.NOT_APPLICABLE for check in checks if check.requirement.era == "modern"
        }
    assert {id: verdict for id, (verdict, _) in seen.items()} == expected, seen
