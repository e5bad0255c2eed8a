"""A known failure is known, a stale entry is red, and a misspelt one is an error."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from conformance.engine.execution import RunOptions
from conformance.engine.runner import run
from conformance.errors import ImplementationCrashed, UsageError, Violation
from conformance.model.baseline import Baseline, Known
from conformance.model.profile import IMPLEMENTATIONS, PROMISES, Profile
from conformance.model.profile_file import read_baseline
from conformance.model.sut import make_sut
from conformance.model.verdicts import Verdict
from tests.conformance.fakes import MUST, FakeFactory, fake_sut, passing, raising

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.checks import Check
    from conformance.model.results import Result

BASELINE = Baseline([Known(MUST, Verdict.FAIL, "issue 7")])


async def result_of(check: Check) -> Result:
    report = await run(fake_sut(), [check], RunOptions(baseline=BASELINE, open_workbench=FakeFactory()))
    return report.results[0]


async def test_an_expected_failure_is_known_and_does_not_count() -> None:
    result = await result_of(raising(Violation("a", "b")))
    assert result.known == "issue 7"
    assert not result.is_failure(strict=True)


async def test_another_red_verdict_counts() -> None:
    result = await result_of(raising(ImplementationCrashed("a", "b")))
    assert result.known is None
    assert result.is_failure()


async def test_an_entry_whose_check_passes_is_stale_and_counts() -> None:
    result = await result_of(passing())
    assert result.stale
    assert result.is_failure()


@pytest.mark.parametrize(
    ("check", "known", "failure"),
    [
        (raising(Violation("a", "b")), "at times", False),
        (passing(), None, False),
        (raising(ImplementationCrashed("a", "b")), None, True),
    ],
)
async def test_an_intermittent_entry_accepts_its_verdict_and_a_pass_only(
    check: Check, known: str | None, failure: bool
) -> None:
    baseline = Baseline([Known(MUST, Verdict.FAIL, "at times", intermittent=True)])
    report = await run(fake_sut(), [check], RunOptions(baseline=baseline, open_workbench=FakeFactory()))
    result = report.results[0]
    assert (result.known, result.stale, result.is_failure()) == (known, False, failure)


async def test_an_entry_outside_the_selection_has_no_effect() -> None:
    result = await result_of(passing("CFG-002"))
    assert not result.is_failure()


async def test_without_a_baseline_the_profile_has_the_known_failures() -> None:
    profile = Profile("fake", known=(Known(MUST, Verdict.FAIL, "issue 8"),))
    report = await run(
        fake_sut(profile), [raising(Violation("a", "b"))], RunOptions(open_workbench=FakeFactory())
    )
    assert report.results[0].known == "issue 8"


ENTRY = '[[known]]\nid = "CFG-001"\nverdict = "fail"\nreason = "because"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY.replace("CFG-001", "CFG-999"), "there is no requirement CFG-999"),
        (ENTRY + 'since = "1.5"\n', "since"),
        (ENTRY + ENTRY, "CFG-001 is listed twice"),
        (ENTRY.replace("fail", "pass"), "pass cannot be a known failure"),
        (ENTRY.replace("fail", "harness-error"), "cannot be a known failure"),
        (ENTRY.replace("fail", "broken"), "broken"),
        (ENTRY.replace("because", " "), "the reason is blank"),
        (ENTRY.replace("because", "TODO: say why"), "write the reason in place of TODO"),
        (ENTRY + 'intermittent = "yes"\n', "intermittent"),
        ("starts_within = 0", "starts_within"),
        ('[absent]\nNOPE = "x"\n', "no family NOPE"),
        ("known = [", "b.toml"),
    ],
)
def test_a_defective_file_is_a_usage_error(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "b.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_baseline(file)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_baseline(tmp_path / "none.toml")


@pytest.mark.parametrize("file", sorted(IMPLEMENTATIONS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_profile_is_valid_and_is_a_baseline_too(file: Path) -> None:
    assert Profile.load(file.stem).name == file.stem
    read_baseline(file)


@pytest.mark.parametrize("name", ["dmcp", "modular-mcp"])
def test_tox_installs_the_version_of_the_profile(name: str) -> None:
    package = Profile.load(name).install.split()[-1]
    root = IMPLEMENTATIONS.parents[1]
    assert any(package in (root / name).read_text(encoding="utf-8") for name in ("tox.ini", "pyproject.toml"))


@pytest.mark.parametrize("table", ["tools", "entries"])
def test_a_profile_with_an_unknown_name_is_a_usage_error(tmp_path: Path, table: str) -> None:
    file = tmp_path / "mine.toml"
    value = '"x"' if table == "tools" else '{ type = "x" }'
    file.write_text(f"[{table}]\nfetch = {value}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{table}: 'fetch' is not one of"):
        Profile.load(str(file))


def test_a_profile_promises_only_what_a_check_can_demand(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('promises = ["listens"]\nlog_switch = { DEBUG = "*" }\n', encoding="utf-8")
    profile = Profile.load(str(file))
    assert (profile.promises, profile.log_switch) == (frozenset({"listens"}), {"DEBUG": "*"})
    file.write_text('promises = ["everything"]\n', encoding="utf-8")
    with pytest.raises(UsageError, match="promises: 'everything' is not one of"):
        Profile.load(str(file))


def test_only_the_reference_is_held_to_all_promises() -> None:
    files = [
        file for part in ("checks", "workbench") for file in (IMPLEMENTATIONS.parent / part).glob("*.py")
    ]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    assert Profile.load("reference").promises == PROMISES.keys()
    assert [name for name in PROMISES if f'promises("{name}")' not in code] == []
    assert not make_sut([sys.executable, "{config}"]).profile.promises


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('promises = ["speed"]', "'speed' is not one of configuration-order"),
        ('revisions = ["2099-01-01"]', "'2099-01-01' is not one of 2024-11-05"),
        ('offers = "2099-01-01"', "'2099-01-01' is not one of 2024-11-05"),
        ('tokens.place = "/etc/{server}"', "is not a path below HOME"),
        ('tokens.place = "~/../{server}"', "is not a path below HOME"),
    ],
)
def test_a_design_that_no_check_knows_is_refused(line: str, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)):
        Profile.parse(line, "mine")


def test_a_profile_declares_a_design_in_a_line_each() -> None:
    profile = Profile.parse(
        'revisions = ["2025-11-25"]\ntokens.place = "~/.mine/{server}.x"\nlog_switch = { DEBUG = "1" }',
        "mine",
    )
    assert (profile.token_file, dict(profile.log_switch)) == (".mine/{server}.x", {"DEBUG": "1"})
    assert (profile.speaks("2025-11-25"), profile.speaks("2026-07-28")) == (True, False)
    assert profile.reason_for_absence("STD-022", "modern") is not None
    assert profile.reason_for_absence("STD-001", "any") is None
    assert Profile("unknown").speaks("2026-07-28") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", None),
        ('revisions = ["2024-11-05", "2025-06-18"]', None),
        (
            'revisions = ["2024-11-05", "2025-03-26"]',
            "MCP 2025-06-18 introduced it, and the program offers its servers 2025-03-26 at most",
        ),
        ('revisions = ["2024-11-05"]\noffers = "2025-06-18"', None),
        (
            'revisions = ["2025-11-25"]\noffers = "2024-11-05"',
            "MCP 2025-06-18 introduced it, and the program offers its servers 2024-11-05 at most",
        ),
    ],
)
def test_a_requirement_binds_what_the_program_offers_its_servers(text: str, reason: str | None) -> None:
    profile = Profile.parse(text, "mine")
    assert profile.reason_for_absence("OAUTH-015", from_revision="2025-06-18") == reason
    assert profile.reason_for_absence("OAUTH-014") is None
