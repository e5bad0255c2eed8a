"""Every report stays well-formed for any text of an implementation, and the text stays text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt

from conformance.engine.execution import RunOptions
from conformance.engine.runner import run
from conformance.errors import NotApplicable, Untestable, Violation
from conformance.model.evidence import encodable
from conformance.model.results import RunReport
from conformance.reports import markdown
from conformance.reports.formats import FORMATS
from conformance.reports.schema import schema
from conformance.reports.text import lines, one_line
from tests.conformance.fakes import FakeFactory, fake_sut, raising
from tests.conformance.reports.test_reports import result

if TYPE_CHECKING:
    from markdown_it.token import Token

SYNTAX = [
    "-->", "]]>", "</details>", "</script>", "<b>", "&amp;", "```", "~~~~", "\n\n", "\n# h\n", "\n- x\n", "| a | b", "[x](y)",
    "![x](y)", "`x`", "**", "__", "$x$", "\nok 1 - x", "\nnot ok 2", "# SKIP x", "# TODO x", "\n1..99\n", "\nBail out! x\n",
    "\n  ...\n", "\n  ---\n", '"', "'", "\\", "\x00", "\x1b[31m", "\x85", "\u2028", "\u202e", "\ufeff", "\U0001f600", "\r\n",
]  # fmt: skip
#: without lone surrogates, which the runner keeps out of every report (see below)
text = st.lists(st.sampled_from(SYNTAX) | st.text(max_size=8), max_size=8).map("".join).map(encodable)


def report_of(said: str) -> RunReport:
    """A run in which this text replaces every text of the implementation."""
    results = (
        result("CFG-001", Violation(said, said)),
        result("CFG-002", Violation(said, said), known=said),
        result("CFG-003", Untestable(said)),
        result("CFG-004", NotApplicable(said)),
        result("CFG-005", stale=True),
        result("CFG-006"),
        result("FRONT-008", Violation(said, said)),
    )
    changed = tuple(
        msgspec.structs.replace(one, title=said, source=said, quote=said, rerun=said) for one in results
    )
    return RunReport(
        implementation=said,
        command=(said,),
        homepage=said,
        results=changed,
        not_run=("CFG-009",),
        complete=False,
    )


HARMLESS = report_of("said")
#: made once, because the derivation of the schema takes longer than a validation
SCHEMA = Draft202012Validator(schema())


@pytest.mark.slow
@given(text)
def test_json_and_json_lines_give_the_text_back(said: str) -> None:
    report = report_of(said)
    document = json.loads(FORMATS["json"](report))
    SCHEMA.validate(document)
    assert document["results"][0]["seen"] == said
    lines_ = FORMATS["jsonl"](report).split("\n")
    assert [json.loads(line)["type"] for line in lines_[:-1]] == ["result"] * 7 + ["summary"]


@given(text)
def test_xml_has_the_same_elements_for_any_text(said: str) -> None:
    for name in ("junit", "badge"):
        elements = [element.tag for element in ET.fromstring(FORMATS[name](report_of(said))).iter()]
        assert elements == [element.tag for element in ET.fromstring(FORMATS[name](HARMLESS)).iter()]


@pytest.mark.slow
@given(text)
def test_the_terminal_report_has_no_control_characters(said: str) -> None:
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", FORMATS["terminal"](report_of(said))) is None


_POINT = re.compile(
    r"(?P<ok>(?:not )?ok) (?P<number>\d+) - (?P<description>(?:[^\\#]|\\[\\#])*)(?: # (?P<directive>\w+).*)?"
)
_YAML_ESCAPE = re.compile(r"\\(?:x(..)|u(....)|U(.{8})|(.))")


def yaml_text(scalar: str) -> str:
    """What a YAML reader makes of a double-quoted scalar."""
    assert scalar[0] == scalar[-1] == '"'
    plain = {"n": "\n", "t": "\t", "r": "\r"}

    def unescaped(found: re.Match[str]) -> str:
        code = found[1] or found[2] or found[3]
        return chr(int(code, 16)) if code else plain.get(found[4], found[4])

    inner = scalar[1:-1]
    assert re.fullmatch(r'(?:[^"\\]|\\.)*', inner)
    return _YAML_ESCAPE.sub(unescaped, inner)


def tap_points(document: str) -> list[tuple[str, str | None, dict[str, str]]]:
    """Verdict, directive and diagnostics of each point, read as strictly as TAP 14 allows."""
    version, plan, *rest = document.splitlines()
    assert version == "TAP version 14"
    points: list[tuple[str, str | None, dict[str, str]]] = []
    in_diagnostics = False
    for line in rest:
        if in_diagnostics:
            assert line.startswith("  ")
            in_diagnostics = line != "  ..."
            if in_diagnostics and not line.startswith("  duration_ms"):
                name, _, scalar = line[2:].partition(": ")
                points[-1][2][name] = yaml_text(scalar)
        elif line == "  ---":
            in_diagnostics = True
        elif not line.startswith("Bail out! "):
            found = _POINT.fullmatch(line)
            assert found is not None, line
            assert int(found["number"]) == len(points) + 1
            points.append((found["ok"], found["directive"], {}))
    assert plan == f"1..{len(points) + 1}"
    return points


@given(text)
def test_tap_has_the_same_points_for_any_text_and_gives_the_text_back(said: str) -> None:
    points = tap_points(FORMATS["tap"](report_of(said)))
    assert [point[:2] for point in points] == [
        ("not ok", None),
        ("not ok", "TODO"),
        ("not ok", None),
        ("ok", "SKIP"),
        ("not ok", None),
        ("ok", None),
        ("not ok", "TODO"),
    ]
    assert points[0][2]["seen"] == said
    assert points[2][2]["reason"] == said


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def structure(tokens: list[Token]) -> list[str]:
    """All markup of a document; of HTML the tags."""
    found: list[str] = []
    for token in tokens:
        if token.type in ("html_block", "html_inline"):
            found += re.findall(r"</?\w+", token.content)
        elif token.type not in ("text", "text_special", "entity", "softbreak"):
            found.append(token.type)
        found += structure(token.children or [])
    return found


@given(text.filter(lambda said: one_line(said) != ""))
def test_markdown_has_the_same_structure_for_any_text(said: str) -> None:
    document = FORMATS["markdown"](report_of(said))
    assert structure(MARKDOWN.parse(document)) == structure(MARKDOWN.parse(FORMATS["markdown"](HARMLESS)))


@given(text)
def test_every_character_of_a_line_is_visible(said: str) -> None:
    assert one_line(said).isprintable()
    assert lines(said).replace("\n", "").replace("\t", "").isprintable()


def test_a_long_text_is_cut_on_request() -> None:
    assert one_line("one two three", 8) == "one two…"
    assert one_line("one two", 8) == "one two"


def test_markdown_stays_below_the_limit_and_counts_the_missing_parts() -> None:
    many = tuple(result(f"CFG-{number:03}", Violation("x" * 9000, "y" * 9000)) for number in range(1, 18))
    report = RunReport(implementation="fake", command=(), homepage="", results=many * 20)
    document = FORMATS["markdown"](report)
    assert 900_000 < len(document.encode()) <= markdown.MAX_BYTES
    assert re.search(r"\d+ more parts do not fit here", document.splitlines()[-1])


@pytest.mark.parametrize("name", FORMATS)
async def test_a_lone_surrogate_does_not_prevent_a_report(
    name: str,
) -> None:
    check: Any = raising(Violation("a", json.loads(r'"\ud800"')))
    report = await run(fake_sut(), [check], RunOptions(open_workbench=FakeFactory()))
    assert FORMATS[name](report).encode()
    assert report.results[0].seen == r"\ud800"
