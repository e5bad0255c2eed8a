"""The reference gets the same verdicts behind Streamable HTTP and HTTP+SSE as on stdio; what has no meaning there is `n/a`."""

from __future__ import annotations

import pytest

from conformance.checks.loading import load_checks
from conformance.engine.runner import run
from conformance.model.profile import Profile
from conformance.model.sut import make_sut
from conformance.model.verdicts import Verdict

#: the handshake, a call, progress, a modern request, a cancellation of each era, malformed bodies; then a check of stdin alone
SELECTION = {
    "FRONT-001": Verdict.PASS,
    "FRONT-023": Verdict.PASS,
    "FRONT-024": Verdict.PASS,
    "FRONT-027": Verdict.PASS,
    "FRONT-006": Verdict.PASS,
    "OPS-046": Verdict.NOT_APPLICABLE,
}


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_the_reference_has_the_same_verdicts(transport: str) -> None:
    profile = Profile.load(f"reference-{transport}")
    checks = [check for check in load_checks().values() if check.id in SELECTION]
    # The runner repeats what depends on time, as in every run: the verdicts are those of a busy machine too.
    report = await run(make_sut(profile=profile), checks)
    seen = {result.id: (result.verdict, result.message) for result in report.results}
    expected = dict(SELECTION)
    if transport == "sse":
        expected |= {
            check.id: Verdict.NOT_APPLICABLE
            for check in checks
            if check.requirement.era == "modern" or check.id == "FRONT-006"
        }
    assert {id: verdict for id, (verdict, _) in seen.items()} == expected, seen
