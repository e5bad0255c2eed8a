"""Baselines from a run: the entries that go, stay or need a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.commands.rebaseline import BaselineFile, edited, revised
from conformance.errors import NotApplicable, Untestable, UsageError, Violation
from conformance.model.baseline import BASELINE_VERDICTS, TODO, Baseline, Known
from conformance.model.profile_file import ProfileFile, read_baseline
from conformance.model.registry import Registry
from conformance.model.results import RunReport
from conformance.model.verdicts import Verdict
from tests.conformance.reports.test_reports import result

if TYPE_CHECKING:
    from pathlib import Path

FILE = """# What we know about it.
name = "mine"
command = ["mine", "{config}"]

[absent]
TOK = "it has no sign-in"

# Waits for a release of the parser.
[[known]]
id = "CFG-001"   # the first one
verdict = "fail"
reason = "a default is used"

# Only on Linux,
# see issue 7.
[[known]]
id = "CFG-002"
# not always the same
verdict = "fail"
reason = "both are started"

[[known]]
id = "STD-001"
verdict = "warn"
reason = "it waits"

[tools]
list = "mine-list"
"""
FAILURE = Violation("one", "two")


def known_in(text: str) -> tuple[Known, ...]:
    return msgspec.toml.decode(text, type=ProfileFile).known


def test_an_update_removes_changes_and_adds_entries() -> None:
    known = [
        Known("CFG-001", Verdict.FAIL, "a"),
        Known("CFG-002", Verdict.FAIL, "b"),
        Known("CFG-003", Verdict.FAIL, "c"),
    ]
    results = [
        result("CFG-001", stale=True),
        result("CFG-002", Untestable("not reached")),
        result("CFG-004", FAILURE),
        result("CFG-005"),
        result("CFG-006", NotApplicable("declared absent")),
        result("CFG-007", ZeroDivisionError("ours")),
    ]
    assert revised(known, results) == [
        Known("CFG-002", Verdict.UNTESTABLE, "b"),
        Known("CFG-003", Verdict.FAIL, "c"),
        Known("CFG-004", Verdict.FAIL, "TODO: say why; seen: two"),
    ]


def test_an_intermittent_entry_stays_when_its_check_passes() -> None:
    entry = Known("CFG-001", Verdict.FAIL, "under load", intermittent=True)
    assert revised([entry], [result("CFG-001")]) == [entry]


def test_an_update_keeps_layout_reasons_and_comments() -> None:
    assert edited(FILE, known_in(FILE)) == FILE
    assert edited(FILE, known_in(FILE)[1:]) == FILE.replace(
        """
# Waits for a release of the parser.
[[known]]
id = "CFG-001"   # the first one
verdict = "fail"
reason = "a default is used"
""",
        "",
    )
    changed = msgspec.structs.replace(known_in(FILE)[1], verdict=Verdict.TIMEOUT)
    assert edited(FILE, [known_in(FILE)[0], changed, known_in(FILE)[2]]) == FILE.replace(
        '''# not always the same
verdict = "fail"''',
        '''# not always the same
verdict = "timeout"''',
    )


def test_a_new_entry_follows_those_of_its_family() -> None:
    added = [
        *known_in(FILE),
        Known("CFG-009", Verdict.FAIL, "new"),
        Known("OPS-001", Verdict.WARN, "new too"),
    ]
    text = edited(FILE, added)
    assert [entry.id for entry in known_in(text)] == ["CFG-001", "CFG-002", "CFG-009", "STD-001", "OPS-001"]
    assert text.endswith('[tools]\nlist = "mine-list"\n')


def test_a_file_without_entries_and_final_newline_can_be_edited() -> None:
    entry = Known("CFG-001", Verdict.FAIL, "x")
    assert edited('name = "mine"', [entry]).startswith('name = "mine"\n\n[[known]]\n')


@pytest.mark.parametrize(
    "text",
    [
        'known = [{id = "CFG-001", verdict = "fail", reason = "x"}]\n',
        '[[known]]\nid = "CFG-001"\nverdict = """fail"""\nreason = "x"\n',
        '[[known]]\nid = "CFG-001"\nverdict = "fail"\nreason = """\n[x]"""\n',
    ],
)
def test_a_layout_that_defeats_the_edit_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="cannot edit this layout"):
        edited(text, [Known("CFG-001", Verdict.TIMEOUT, "x")])


_ids = st.sampled_from([requirement.id for requirement in Registry.load()])
_reasons = st.text(min_size=1).filter(
    lambda text: text.isprintable() and text == " ".join(text.split()) != ""
)
_known = st.lists(
    st.builds(Known, _ids, st.sampled_from(sorted(BASELINE_VERDICTS)), _reasons, st.booleans()),
    max_size=8,
    unique_by=lambda entry: entry.id,
)


@pytest.mark.slow
@given(_known, _known)
def test_a_file_with_any_entries_can_be_edited_to_any_others(old: list[Known], new: list[Known]) -> None:
    reasons = {entry.id: entry for entry in old}
    # Reasons belong to the author: an entry that stays keeps its reason.
    wanted = [msgspec.structs.replace(reasons.get(entry.id, entry), verdict=entry.verdict) for entry in new]
    text = edited(edited("", old), wanted)
    assert sorted(known_in(text), key=lambda entry: entry.id) == sorted(wanted, key=lambda entry: entry.id)


def report_of(*results: object, complete: bool = True) -> RunReport:
    return RunReport(implementation="mine", command=(), homepage="", results=results, complete=complete)  # type: ignore[arg-type]  # made by `result`


def test_a_new_baseline_is_invalid_until_a_person_writes_the_reasons(
    tmp_path: Path,
) -> None:
    file = tmp_path / "known.toml"
    baseline = Baseline(
        [Known("CFG-002", Verdict.FAIL, "of the profile"), Known("STD-001", Verdict.FAIL, "not run")]
    )
    report = report_of(result("CFG-001", FAILURE), result("CFG-002", FAILURE, known="of the profile"))
    said = BaselineFile(file, new=True).write(report, baseline)
    assert said == f"{file}: 2 added, 0 removed, 0 changed; write the reasons that say TODO"
    assert [(entry.id, entry.reason) for entry in known_in(file.read_text(encoding="utf-8"))] == [
        ("CFG-002", "of the profile"),
        ("CFG-001", f"{TODO}: say why; seen: two"),
    ]
    with pytest.raises(UsageError, match="CFG-001: write the reason in place of TODO"):
        read_baseline(file)
    file.write_text(
        file.read_text(encoding="utf-8").replace("TODO: say why; seen: ", "it says "), encoding="utf-8"
    )
    assert read_baseline(file).reason_for("CFG-001", Verdict.FAIL) == "it says two"


def test_an_empty_baseline_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    BaselineFile(file, new=True).write(report_of(result("CFG-001")), Baseline())
    assert read_baseline(file).entries == ()


def test_an_interrupted_run_changes_no_baseline(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(FILE, encoding="utf-8")
    said = BaselineFile(file, new=False).write(
        report_of(result("CFG-001", stale=True), complete=False), read_baseline(file)
    )
    assert "interrupted" in said
    assert file.read_text(encoding="utf-8") == FILE


def test_an_unwritable_file_is_a_usage_error_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "there.toml"
    file.touch()
    with pytest.raises(UsageError, match="the file exists"):
        BaselineFile(file, new=True)
    with pytest.raises(UsageError, match="--write-baseline"):
        BaselineFile(tmp_path / "no" / "folder.toml", new=True)
    with pytest.raises(UsageError, match="--update-baseline"):
        BaselineFile(tmp_path, new=False)
