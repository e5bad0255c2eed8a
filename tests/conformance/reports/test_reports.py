"""Every report format of one fixed run. The tests parse the formats that other programs parse."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest
from rich.console import Console

from conformance.engine.execution import AttemptFinished, AttemptStarted
from conformance.errors import CheckTimeout, NotApplicable, Untestable, UsageError, Violation
from conformance.model.evidence import Evidence
from conformance.model.results import Attempt, Result, RunReport
from conformance.model.verdicts import Level, Verdict, judge
from conformance.reports import badge, schema
from conformance.reports.formats import FORMATS, ReportFile
from conformance.reports.json import read
from conformance.reports.terminal import LiveProgress
from tests.conformance.fakes import MAY, passing

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

EVIDENCE = Evidence([], "", "could not open\nthe file \x1b[31m[red]", ["pid 7 /bin/sleep 1000"], None)


def result(id_: str, error: Exception | None = None, **changes: Any) -> Result:
    requirement = passing(id_).requirement
    source = requirement.sources[0]
    verdict = judge(requirement.level, error)
    violation = error if isinstance(error, Violation) else None
    message = str(error or "")
    made = Result(
        id=id_,
        level=requirement.level,
        era=requirement.era,
        reach=requirement.reach,
        verdict=verdict,
        title=requirement.title,
        statement=" ".join(requirement.statement.split()),
        observed=" ".join(requirement.observed.split()),
        message=message,
        expected=violation.expected if violation else None,
        seen=violation.seen if violation else None,
        source=str(source),
        quote=source.quote,
        further_sources=tuple(other.whole for other in requirement.sources[1:]),
        duration_s=1.25,
        evidence=EVIDENCE if error else Evidence(),
        rerun=f"python -m conformance run --only {id_} -- /bin/fake {{config}}",
        attempts=(Attempt(verdict, message, 1.25),),
    )
    return msgspec.structs.replace(made, **changes)


TWICE = (Attempt(Verdict.TIMEOUT, "late", 20.0), Attempt(Verdict.FAIL, "", 1.0))
REPORT = RunReport(
    implementation="fake",
    command=("/bin/fake", "{config}"),
    homepage="https://example.org",
    results=(
        result("CFG-001"),
        result(
            "CFG-002",
            Violation("only the first upstream starts", "both started:\n[a]\n[b]\x00"),
            attempts=TWICE,
        ),
        result("CFG-003", CheckTimeout(20)),
        result("CFG-004", Untestable("the upstream never became ready")),
        result("CFG-005", NotApplicable("declared absent: no such thing")),
        result("CFG-006", Violation("a", "b"), known="issue 7"),
        result("CFG-007", stale=True),
        result("CFG-008", ZeroDivisionError("oops")),
        result(MAY, Violation("a keyring", "a plain file")),
    ),
    not_run=("CFG-009",),
    planned=("OPS-001",),
    duration_s=12.5,
    complete=False,
    specification="1.0",
    runner="0.1.0",
    started="2026-11-23T16:02:00Z",
    families={"CFG": "Configuration", "HARD": "Hardening"},
)


# The page has tests of its own.
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "html"])
def test_the_report_as_text(name: str, snapshot: SnapshotAssertion) -> None:
    assert FORMATS[name](REPORT) == snapshot


def test_the_reports_say_that_a_doc_counts_as_a_should() -> None:
    warned = result("CFG-001", Violation("a", "b"), verdict=Verdict.WARN, counts_as=Level.SHOULD)
    report = msgspec.structs.replace(REPORT, results=(warned,))
    assert "DOC as SHOULD" in terminal_of(warned)
    assert "DOC as SHOULD" in FORMATS["markdown"](report)
    assert "TODO warn: DOC as SHOULD is not required" in FORMATS["tap"](report)
    assert json.loads(FORMATS["json"](report))["results"][0]["counts_as"] == "SHOULD"
    assert "SHOULD, because the documents of dynamic-mcp bind no other proxy" in FORMATS["html"](report)


def test_the_json_report_has_three_parts_and_all_results() -> None:
    document = json.loads(FORMATS["json"](REPORT))
    assert {"implementation", "summary", "results"} <= document.keys()
    assert document["summary"]["verdicts"]["pass"] == 2
    # CFG-002, -003, -004, -008 and the stale CFG-007
    assert document["summary"]["failures"] == 5
    assert [entry["id"] for entry in document["results"]] == [entry.id for entry in REPORT.results]


def test_a_json_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    ReportFile(f"json={file}", FORMATS).write(REPORT)
    assert read(file) == REPORT


def test_a_json_report_of_an_older_runner_can_be_read(tmp_path: Path) -> None:
    document = json.loads(FORMATS["json"](REPORT))
    for name in ("specification", "runner", "started", "families"):
        del document[name]
    for entry in document["results"]:
        del entry["observed"], entry["reach"]
    file = tmp_path / "report.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    old = read(file)
    assert (old.started, old.specification, old.results[0].observed) == ("", "", "")
    assert old.results[0].reach is None
    assert old.summary == msgspec.structs.replace(REPORT.summary, reach={})


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"type": "result"}\n{}'])
def test_a_file_that_is_no_json_report_is_a_usage_error(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"report\.json"):
        read(file)


def test_the_published_schema_is_that_of_the_structs() -> None:
    assert schema.FILE.read_text(encoding="utf-8") == schema.render(), (
        "run: python -m conformance.reports.schema"
    )


def test_reports_conform_to_the_published_schema() -> None:
    published = json.loads(schema.FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(json.loads(FORMATS["json"](REPORT)), published)
    line_schema = {**published, "$ref": "#/$defs/Line"}
    for line in FORMATS["jsonl"](REPORT).splitlines():
        jsonschema.validate(json.loads(line), line_schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "result"}, line_schema)


def test_every_json_line_parses_and_the_summary_is_last() -> None:
    lines = [json.loads(line) for line in FORMATS["jsonl"](REPORT).splitlines()]
    assert [line["type"] for line in lines] == ["result"] * len(REPORT.results) + ["summary"]
    assert lines[-1]["complete"] is False


def test_the_junit_report_has_the_counts_of_its_cases() -> None:
    root = ET.fromstring(FORMATS["junit"](REPORT))
    assert root.tag == "testsuites"
    cases = root.findall("testsuite/testcase")
    assert int(root.attrib["tests"]) == len(cases) == len(REPORT.results) + 1
    for attribute, tag, count in (
        ("failures", "failure", 3),
        ("errors", "error", 2),
        ("skipped", "skipped", 3),
    ):
        found = root.findall(f"testsuite/testcase/{tag}")
        assert int(root.attrib[attribute]) == len(found) == count


def test_the_junit_report_has_level_era_and_reach_of_each_case() -> None:
    cases = ET.fromstring(FORMATS["junit"](REPORT)).findall("testsuite/testcase")
    by_id = {case.attrib["name"].partition(" ")[0]: case for case in cases}
    for one in REPORT.results:
        found = {about.attrib["name"]: about.attrib["value"] for about in by_id[one.id].iter("property")}
        assert found == {"level": one.level, "era": one.era, "reach": one.reach}


def test_the_junit_report_of_an_older_runner_has_no_reach() -> None:
    report = msgspec.structs.replace(REPORT, results=(result("CFG-001", reach=None),))
    root = ET.fromstring(FORMATS["junit"](report))
    assert [about.attrib["name"] for about in root.iter("property")] == ["level", "era"]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "badge"])
def test_every_report_says_that_a_result_was_not_repeated(name: str) -> None:
    late = result("CFG-002", Violation("an answer within 5 s", "silence"), unrepeated=True)
    text = FORMATS[name](msgspec.structs.replace(REPORT, results=(late,), stopped_by="SIGINT"))
    assert ('"unrepeated": true' if name.startswith("json") else "not repeated") in text.replace(
        '"unrepeated":true', '"unrepeated": true'
    )


def test_a_result_that_was_not_repeated_is_no_failure() -> None:
    late = result("CFG-002", Violation("an answer within 5 s", "silence"), unrepeated=True)
    report = msgspec.structs.replace(REPORT, results=(late,), stopped_by="SIGINT", strict=True)
    assert report.summary.failures == 0
    suites = ET.fromstring(FORMATS["junit"](report))
    assert (suites.get("failures"), suites.get("skipped")) == ("0", "2")
    assert "1 fail (including 1 not repeated)" in FORMATS["terminal"](report)
    assert "not repeated (interrupted by SIGINT): CFG-002\n" in FORMATS["terminal"](report)
    assert "# TODO fail, not repeated" in FORMATS["tap"](report)


def test_a_warning_is_a_failure_only_in_a_strict_report() -> None:
    report = RunReport(implementation="fake", command=(), homepage="", results=(REPORT.results[-1],))
    assert report.summary.failures == 0
    assert "<failure" not in FORMATS["junit"](report)
    strict = msgspec.structs.replace(report, strict=True)
    assert strict.summary.failures == 1
    assert "<failure" in FORMATS["junit"](strict)


BARE = RunReport(implementation="fake", command=(), homepage="", results=())


@pytest.mark.parametrize(
    ("report", "value", "colour"),
    [
        (REPORT, "2 of 11", badge.GREY),
        (msgspec.structs.replace(BARE, results=(result("CFG-001"),)), "1 of 1", badge.GREEN),
        (
            msgspec.structs.replace(BARE, results=(result("CFG-001"),), planned=("CFG-002",)),
            "1 of 2",
            badge.GREEN,
        ),
        (msgspec.structs.replace(BARE, results=REPORT.results[5:6]), "0 of 1", badge.AMBER),
        (msgspec.structs.replace(BARE, results=REPORT.results[-1:]), "0 of 1", badge.AMBER),
        (msgspec.structs.replace(BARE, results=REPORT.results[:2]), "1 of 2", badge.RED),
        (msgspec.structs.replace(BARE, results=REPORT.results[7:8]), "0 of 1", badge.GREY),
        (BARE, "0 of 0", badge.GREY),
    ],
)
def test_the_badge_shows_the_number_and_the_success(report: RunReport, value: str, colour: str) -> None:
    svg = ET.fromstring(FORMATS["badge"](report))
    namespace = "{http://www.w3.org/2000/svg}"
    assert svg.attrib["aria-label"] == f"conformance: {value}"
    assert [element.text for element in svg.findall(f"{namespace}text")] == ["conformance", value]
    assert [box.attrib["fill"] for box in svg.findall(f"{namespace}rect")] == [badge.LABEL_COLOUR, colour]
    assert "fake" in (svg.findtext(f"{namespace}title") or "")


def luminance(colour: str) -> float:
    """The relative luminance that WCAG 2.2 defines."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", [badge.LABEL_COLOUR, badge.GREEN, badge.AMBER, badge.RED, badge.GREY])
def test_white_text_can_be_read_on_every_colour_of_the_badge(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def terminal_of(*results: Result) -> str:
    return FORMATS["terminal"](msgspec.structs.replace(BARE, results=results))


ENDED = Untestable("no answer to initialize: exit status 1")


def test_failures_with_the_same_cause_share_a_block() -> None:
    ids = ["CFG-001", "CFG-002", "CFG-003", "CFG-004"]
    same = [result(id_, Violation("a line", f"/tmp/conformance-{id_}-x7/{id_}")) for id_ in ids]
    text = terminal_of(*same[:3], result("CFG-004", Violation("a line", "none")))
    assert "3 checks fail  for the same cause\n  checks     CFG-001 CFG-002 CFG-003\n" in text
    assert text.count("expected   a line") == 2
    assert "checks     " not in terminal_of(*same[:2])


def test_another_last_line_on_stderr_is_another_cause_of_an_exit() -> None:
    ended = [
        result(f"CFG-{number:03}", ENDED, evidence=Evidence(stderr_tail=f"{number}: no {what}\n"))
        for number, what in enumerate(["module"] * 3 + ["port"] * 2, start=1)
    ]
    text = terminal_of(*ended)
    assert "checks     CFG-001 CFG-002 CFG-003\n" in text
    assert text.count("reason     no answer") == 3


def test_a_failure_shows_the_variables_of_its_check() -> None:
    evidence = Evidence(environment=["DYNAMIC_MCP_CONFIG=/x", "A=1 (proxy-2)"])
    failed = result("CFG-001", ENDED, evidence=evidence)
    for name in ("terminal", "markdown", "tap", "junit"):
        text = FORMATS[name](msgspec.structs.replace(BARE, results=(failed,)))
        assert "DYNAMIC_MCP_CONFIG=/x" in text.replace("\\_", "_"), name


def test_stderr_is_not_shown_twice() -> None:
    evidence = Evidence(stderr_tail="no\nit's \\ wrong\n")
    refusal = Violation("a reason", "exit status 1; stderr: " + repr(evidence.stderr_tail))
    assert terminal_of(result("CFG-001", refusal, evidence=evidence)).count("wrong") == 1
    assert terminal_of(result("CFG-001", ENDED, evidence=evidence)).count("wrong") == 1


def test_a_long_answer_is_whole_or_names_the_report_that_has_it() -> None:
    word = "".join(f"{number}," for number in range(400))
    assert word in "".join(terminal_of(result("CFG-001", Violation("a list", word))).split())
    text = terminal_of(result("CFG-001", Violation("a list", word * 3)))
    assert "[2470 more characters: --report json=FILE]" in text


def test_control_characters_of_the_implementation_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in FORMATS["terminal"](REPORT)
    assert "[red]" in FORMATS["terminal"](REPORT)


@pytest.mark.parametrize("request_", ["json", "json=", "yaml=out", "json=/no/such/folder/out.json", "json=."])
def test_an_unwritable_report_is_a_usage_error_before_the_run(request_: str) -> None:
    with pytest.raises(UsageError, match="--report"):
        ReportFile(request_, FORMATS)


def test_a_request_for_a_report_changes_no_file(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("kept", encoding="utf-8")
    ReportFile(f"json={old}", FORMATS)
    ReportFile(f"json={tmp_path / 'new.json'}", FORMATS)
    assert old.read_text(encoding="utf-8") == "kept"
    assert not (tmp_path / "new.json").exists()


def progress_output(*, terminal: bool) -> str:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=terminal, color_system=None)
    check = passing("CFG-001")
    with LiveProgress(console, 1) as progress:
        progress(AttemptStarted(check, 1))
        progress(AttemptFinished(check, REPORT.results[0], final=True))
    return output.getvalue()


def test_progress_into_a_file_is_one_plain_line_per_check() -> None:
    title = passing("CFG-001").requirement.title
    assert progress_output(terminal=False) == f"CFG-001   pass {title} (1.2 s)\n"


def test_progress_on_a_terminal_is_one_live_line() -> None:
    assert "1/1" in progress_output(terminal=True)
