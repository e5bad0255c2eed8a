"""Each mutant is killed by the check of its requirement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.checks import load_checks
from conformance.mutants import Mutant, load_mutants

ROOT = Path(__file__).parents[2]


def test_every_check_has_a_mutant() -> None:
    killed = {mutant.kills for mutant in load_mutants().values()}

    assert [id_ for id_ in load_checks() if id_ not in killed] == []


@pytest.mark.gallery
@pytest.mark.timeout(150)
@pytest.mark.parametrize("mutant", load_mutants().values(), ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed_by_its_check(mutant: Mutant, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "conformance", "run", "--only", mutant.kills, "--strict"]
    command += ["--report", f"json={report}", "--"]
    command += [sys.executable, "-m", "conformance.mutants", mutant.name, "{config}"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=140)

    assert run.returncode == 1, run.stdout + run.stderr
    # A mutant that does not even start would be red too; only a broken requirement counts.
    verdicts = {result["id"]: result["verdict"] for result in json.loads(report.read_text())["results"]}
    assert verdicts[mutant.kills] in ("fail", "warn"), run.stdout
