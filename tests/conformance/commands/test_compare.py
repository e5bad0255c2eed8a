"""Several implementations side by side: profiles run, reports are read, files are written, and the exit status follows."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from hypothesis import given

from conformance.checks import Check, make_check
from conformance.cli import main
from conformance.errors import NotApplicable, Violation
from conformance.model.registry import Registry
from conformance.model.verdicts import Verdict
from conformance.reports import comparison
from conformance.reports.columns import told_apart, words_again
from conformance.reports.formats import FORMATS
from conformance.reports.json import Implementation
from tests.conformance.fakes import MUST, FakeFactory, checks_of, passing, raising
from tests.conformance.reports.test_hostile_text import HARMLESS, MARKDOWN, report_of, structure, text
from tests.conformance.reports.test_reports import REPORT, result

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

ROOT = Path(__file__).parents[3]
VIOLATION = Violation("an answer", "silence")
OTHER = msgspec.structs.replace(
    REPORT,
    implementation="other",
    version="2.0",
    install="pip install other==2.0",
    results=(
        result("CFG-001", VIOLATION, known="it answers nothing | at all"),
        result("CFG-002"),
        result("CFG-004", NotApplicable("declared absent: it takes no paths")),
    ),
    not_run=(),
    complete=True,
)


def compare(*words: str, checks: tuple[Check, ...] = (passing(), passing("CFG-002"))) -> int:
    return main(["compare", *words], checks=checks_of(*checks), open_workbench=FakeFactory())


@pytest.fixture
def profile(tmp_path: Path) -> str:
    return written(tmp_path / "mine.toml", "mine")


def written(file: Path, name: str, more: str = "") -> str:
    command = json.dumps([sys.executable, "{config}"])
    file.write_text(
        f'name = "{name}"\ninstall = "pip install {name}"\ncommand = {command}\n{more}', encoding="utf-8"
    )
    return str(file)


@pytest.fixture
def earlier(tmp_path: Path) -> str:
    file = tmp_path / "earlier.json"
    file.write_text(FORMATS["json"](OTHER), encoding="utf-8")
    return str(file)


def test_profiles_are_run_and_reports_are_read(
    profile: str, earlier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(profile, earlier) == 0
    output = capsys.readouterr().out
    assert re.search(r"^ *CFG-001 +DOC .* pass +known fail *$", output, re.MULTILINE)
    assert re.search(r"^ *CFG-004 +DOC .* planned +n/a *$", output, re.MULTILINE)
    assert "mine: 2 pass" in output
    assert "other: 1 pass" in output


def test_requirements_that_hold_everywhere_are_only_counted(
    profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(profile, profile, "--only", "CFG-001", "--only", "CFG-002") == 0
    output = capsys.readouterr().out
    assert "2 of 2 requirements hold everywhere" in output
    assert "requirement  mine" not in output


def test_two_reports_of_one_program_have_names_of_their_own(
    tmp_path: Path, earlier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    later, page = tmp_path / "later.json", tmp_path / "page.md"
    later.write_bytes(Path(earlier).read_bytes())
    words = [earlier, str(later), "--only", "CFG-001"]
    assert compare(*words, "--markdown", str(page)) == 0
    output = capsys.readouterr().out
    assert re.search(r"requirement +other \(earlier\) +other \(later\)", output)
    again = re.search(r"^python -m conformance compare --markdown \S+ (.*)$", page.read_text(), re.MULTILINE)
    assert again is not None
    assert shlex.split(again[1]) == words[:2]
    assert compare(*shlex.split(again[1]), "--only", "CFG-001") == 0


@pytest.mark.parametrize(
    ("names", "arguments", "shown"),
    [
        (["a", "b"], ["1.json", "2.json"], ["a", "b"]),
        (["a", "b", "a"], ["x.json", "y.json", "z.toml"], ["a (x)", "b", "a (z)"]),
        (["a", "a"], ["x/r.json", "y/r.json"], ["a (x/r.json)", "a (y/r.json)"]),
        (["a", "a"], ["r.json", "r.json"], ["a (1)", "a (2)"]),
        (["a", "a"], [f"{'x' * 50}.json", "r.json"], ["a (1)", "a (2)"]),
        (["w" * 60, "w" * 50], ["x.json", "y.json"], [f"{'w' * 35}… (x)", f"{'w' * 35}… (y)"]),
    ],
)
def test_columns_are_told_apart(names: list[str], arguments: list[str], shown: list[str]) -> None:
    reports = [msgspec.structs.replace(OTHER, implementation=name) for name in names]
    assert [one.implementation for one in told_apart(reports, arguments)] == shown


def test_the_page_names_bundled_profiles_and_the_files_of_the_user() -> None:
    reports = [msgspec.structs.replace(OTHER, implementation=name) for name in ("dmcp", "mine", "mine")]
    assert words_again(reports, ["out/dmcp.json", "a b.json", "c.toml"]) == ["dmcp", "'a b.json'", "c.toml"]


def test_a_cell_says_that_its_verdict_is_not_final() -> None:
    report = msgspec.structs.replace(OTHER, results=(result("CFG-001", VIOLATION, unrepeated=True),))
    cell = comparison.compared([report]).rows[0].cells[0]
    assert (cell.verdict, cell.note) == (None, "fail, not repeated")


def test_the_exit_status_is_the_worst_of_all_runs(tmp_path: Path, profile: str, earlier: str) -> None:
    known = '[[known]]\nid = "CFG-001"\nverdict = "fail"\nreason = "x"\n'
    lenient = written(tmp_path / "lenient.toml", "lenient", known)
    absent = written(tmp_path / "absent.toml", "absent", '[absent]\nCFG = "none"\n')
    failing = (raising(VIOLATION),)
    assert compare(lenient, checks=failing) == 0
    assert compare(lenient, absent, checks=failing) == 2
    assert compare(lenient, absent, profile, checks=failing) == 1
    assert compare(lenient, absent, profile, checks=(raising(KeyError("x")),)) == 3
    assert compare(earlier, "--only", "CFG-001") == 0


def test_the_selection_narrows_earlier_reports(
    tmp_path: Path, earlier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(earlier, "--only", "CFG-001", "--out", str(tmp_path / "out")) == 0
    assert "CFG-004" not in capsys.readouterr().out


def test_the_matrix_and_the_report_of_every_run_are_written(
    tmp_path: Path, profile: str, earlier: str
) -> None:
    out, page = tmp_path / "new" / "out", tmp_path / "page.md"
    assert compare(profile, earlier, profile, "--out", str(out), "--markdown", str(page)) == 0
    matrix = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert [column["implementation"]["name"] for column in matrix["columns"]] == [
        "mine (1)",
        "other",
        "mine (2)",
    ]
    assert matrix["columns"][0]["implementation"]["version"] == "1.2.3"
    rows = {row["id"]: [cell["verdict"] for cell in row["cells"]] for row in matrix["rows"]}
    assert rows["CFG-001"] == ["pass", "fail", "pass"]
    assert rows["CFG-004"] == [None, "n/a", None]
    assert rows["OPS-001"] == [None, None, None]
    assert json.loads((out / "mine.json").read_text(encoding="utf-8"))["implementation"]["name"] == "mine"
    assert (out / "mine-2.json").exists()
    assert not (out / "other.json").exists()
    assert "<!doctype html>" in (out / "comparison.html").read_text(encoding="utf-8").lower()
    assert page.read_text(encoding="utf-8") == (out / "comparison.md").read_text(encoding="utf-8")


def test_an_interruption_ends_the_comparison_with_the_runs_so_far(
    tmp_path: Path, profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupt(workbench: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    assert compare(profile, profile, "--out", str(tmp_path), checks=(make_check(interrupt, MUST),)) == 130
    assert "not all implementations were run" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))["columns"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: NAME"),
        (["no-such"], "there is no profile 'no-such'"),
        (["/no/such.json"], "No such file"),
        (["reference", "--out", "/etc/passwd"], "--out /etc/passwd"),
        (["reference", "--markdown", "/no/such/folder/x.md"], "--markdown /no/such/folder/x.md"),
        (["reference", "--only", "CGF"], "did you mean"),
        (["reference", "--only", "OPS"], "nothing to run"),
    ],
)
def test_2_for_a_wrong_option(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*words) == 2
    assert message in capsys.readouterr().err


def test_a_missing_program_is_reported_with_the_way_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'install = "pip install mine"\ncommand = ["no-such-program", "{config}"]\n', encoding="utf-8"
    )
    assert compare(str(file)) == 2
    assert "was not found on PATH; to install it: pip install mine" in capsys.readouterr().err


def test_the_page(snapshot: SnapshotAssertion) -> None:
    assert comparison.render_markdown([REPORT, OTHER]) == snapshot


@pytest.mark.slow
@given(text)
def test_the_page_has_the_same_structure_for_any_text(said: str) -> None:
    def parsed(report: Any) -> list[str]:
        return structure(MARKDOWN.parse(comparison.render_markdown([report, OTHER])))

    said_of = msgspec.structs.replace(
        report_of(said), version=said, install=said, started=said, homepage=f"https://{said}"
    )
    harmless = msgspec.structs.replace(
        HARMLESS, version="said", install="said", started="said", homepage="https://said"
    )
    assert parsed(said_of) == parsed(harmless)


PAGE = (ROOT / "docs" / "implementations.md").read_text(encoding="utf-8")
_ROW = re.compile(
    r"^\| (?P<id>[A-Z]+-\d{3}) \| (?P<level>[A-Z]+) \| (?P<reach>[a-z-]+) \| (?P<title>.*?) \|(?P<cells>.*)\|$",
    re.MULTILINE,
)


def test_the_committed_page_has_the_requirements_of_the_registry() -> None:
    """The page says itself which requirements are newer than its runs."""
    rows = {
        found["id"]: (found["level"], html.unescape(re.sub(r"\\(.)", r"\1", found["title"])))
        for found in _ROW.finditer(PAGE)
    }
    named = re.search(r"These are new, and have no row: (.*?)\. ", PAGE, re.DOTALL)
    newer = set(re.findall(r"[A-Z]+-\d{3}", named[1])) if named else set()
    current = {one.id: (str(one.level), one.title) for one in Registry.load() if one.retired is None}
    assert current.keys() - rows.keys() == newer
    current = {id: words for id, words in current.items() if id not in newer}
    assert rows == current, "run `python -m conformance compare` again, or correct the words"


def test_the_committed_page_has_only_known_failures() -> None:
    for found in _ROW.finditer(PAGE):
        cells = {cell.strip() for cell in found["cells"].split("|")}
        left_out = {"not run"} if found["reach"] == "dynamic-mcp" else set()
        assert cells <= {*map(str, Verdict)} | left_out, found["id"]


def test_the_summary_of_the_committed_page_counts_its_rows() -> None:
    rows = [found["cells"].split("|") for found in _ROW.finditer(PAGE)]
    summary = re.findall(
        r"^\|.* \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE
    )
    assert len(summary) == len(rows[0])
    for counts, cells in zip(summary, zip(*rows, strict=True), strict=True):
        found = Counter(cell.strip() for cell in cells)
        known = [found.pop(verdict, 0) for verdict in ("pass", "fail", "warn", "n/a", "planned")]
        del found["not run"]
        passed, failed, warned, absent, planned = known
        assert [int(count) for count in counts] == [passed, failed, warned, found.total(), absent, planned]


@pytest.mark.parametrize(
    ("install", "told", "shown"),
    [
        ("pip install other==2.0", "2.0", "2.0"),
        ("npm install --global @a/b@0.15.1", "1.0.0", "0.15.1 (initialize: 1.0.0)"),
        ("npm install --global a@4.2.1", "", "4.2.1"),
        ("pip install other", "2.0", "2.0"),
        ("", "", ""),
    ],
)
def test_the_version_is_that_of_the_installation(install: str, told: str, shown: str) -> None:
    """A relay passes on the version of its server."""
    found = Implementation(name="x", command=(), homepage="", version=told, install=install)
    assert found.shown_version == shown
