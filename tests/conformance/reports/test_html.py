"""The HTML report as text: its content, that no text of a report becomes markup, and its size."""

from __future__ import annotations

import base64
import re
import unicodedata
import zlib
from html.parser import HTMLParser
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.errors import Violation
from conformance.model.evidence import Event, Evidence
from conformance.model.registry import Era
from conformance.model.results import Attempt, Result, RunReport
from conformance.model.verdicts import Level, Verdict
from conformance.reports.formats import FORMATS
from conformance.reports.html.page import DETAILS
from conformance.reports.html.render import (
    MAX_BYTES,
    TEMPLATES,
    content_security_policy,
    render,
    render_comparison,
)
from conformance.reports.html.visible import cut, visible
from tests.conformance.reports.test_reports import REPORT, result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syrupy.assertion import SnapshotAssertion

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`{{ 7*7 }}<!-- \x1b[31m \u202e \ud800 \0"

LOG = [
    Event(0.5, "proxy", "start", "pid 7: proxy config.json"),
    Event(1.0, "client", "in", '{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'),
    Event(2.5, "proxy", "out", '{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}'),
    Event(3.0, "runner", "close-stdin", ""),
]
SEEN = Evidence(LOG, "out\n", "err \x1b[31m", ["pid 9 sleep"], None)
#: the same checks of another implementation: one differs, one was not selected
OTHER = RunReport(
    implementation="other",
    command=("other", "--config={config}"),
    homepage="ftp://example.org",
    version="2.1-rc",
    results=(
        result("CFG-001", evidence=SEEN),
        result("CFG-002", evidence=SEEN, statement="An older wording."),
        result("CFG-006", Violation("a", "b"), evidence=SEEN),
    ),
    duration_s=3.0,
    specification="0.9",
)


class Page(HTMLParser):
    """What a browser would make of it, as far as elements, attributes and text go."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.comments: list[str] = []
        self._raw = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self._raw else self.texts).append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def skeleton(self) -> list[tuple[str, tuple[str, ...]]]:
        """The elements with the names of their attributes; where a line may break depends on the text."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements if tag != "wbr"]

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def packed_logs(text: str) -> list[str]:
    found = re.search(r'id="_logs">([^<]*)<', text)
    assert found is not None
    data = zlib.decompress(base64.b64decode(found[1]), -zlib.MAX_WBITS).decode()
    return data.split("\0") if data else []


def without_assets(text: str) -> str:
    """The page without its own style and script, and with its logs unpacked: zlib may pack them differently."""
    text = re.sub(r"sha256-[\w+/=]+", "sha256-", text)
    text = re.sub(r"<(style|script)>.*?</\1>", r"<\1></\1>", text, flags=re.DOTALL)
    return re.sub(r'(id="_logs">)[^<]*', r"\1", text) + "".join(packed_logs(text))


def test_the_page_of_a_comparison(snapshot: SnapshotAssertion) -> None:
    text = render_comparison([REPORT, OTHER])
    assert without_assets(text) == snapshot
    assert render_comparison([REPORT, OTHER]) == text


def test_it_is_one_of_the_formats() -> None:
    assert FORMATS["html"](REPORT) == render(REPORT) == render_comparison([REPORT])


def test_every_requirement_has_a_row_and_every_report_a_column() -> None:
    page = Page(render_comparison([REPORT, OTHER]))
    rows = [attributes for tag, attributes in page.elements if tag == "tr" and "data-verdict" in attributes]
    assert len(rows) == len(REPORT.results) + len(REPORT.not_run) + len(REPORT.planned)
    anchors = set(page.values("id"))
    assert {"CFG-001", "CFG-009", "OPS-001", "CFG-006.1", "CFG-006.2"} <= anchors
    assert {link[1:] for link in page.values("href") if link.startswith("#")} <= anchors
    verdicts = {attributes["data-verdict"] for attributes in rows}
    assert {
        "pass",
        "fail,pass,not passed,differs",
        "not run,not selected,not passed",
        "planned,not selected",
    } <= verdicts


def test_verdicts_have_words_and_symbols_beside_colours() -> None:
    text = Page(render_comparison([REPORT, OTHER])).text
    assert {"✓ pass", "✗ fail", "○ known fail", "↺ stale pass", "◷ timeout", "? untestable"} <= set(
        re.findall(r"\S (?:known |stale )?[a-z-]+", text)
    )


def test_failures_are_readable_without_javascript() -> None:
    text = Page(render(REPORT)).text
    assert "only the first upstream starts" in text
    assert "both started:\n[a]\n[b]␀" in text
    assert "python -m conformance run --only CFG-002 -- /bin/fake {config}" in text
    assert "could not open\nthe file ␛[31m[red]" in text
    assert "timeout after 20.0 s" in text
    assert "issue 7" in text


def test_a_different_wording_of_a_requirement_is_shown() -> None:
    text = Page(render_comparison([REPORT, OTHER])).text
    assert "Its statementAn older wording." in text
    assert text.count("An older wording.") == 1


def test_only_a_web_page_becomes_a_link() -> None:
    links = Page(render_comparison([REPORT, OTHER])).values("href")
    assert {link for link in links if not link.startswith("#")} == {"https://example.org"}
    script = msgspec.structs.replace(REPORT, homepage="javascript:alert(1)")
    assert all(link.startswith("#") for link in Page(render(script)).values("href"))


def test_the_log_of_a_pass_is_packed_and_shows_its_ends() -> None:
    events = [Event(float(number), "check", "note", f"remark {number}") for number in range(300)]
    report = RunReport(
        implementation="x", command=(), homepage="", results=(result("CFG-001", evidence=Evidence(events)),)
    )
    text = render(report)
    (log,) = packed_logs(text)
    assert "remark 150" in Page(log).text
    shown = Page(text).text
    assert "remark 150" not in shown
    assert f"{300 - DETAILS[0].short_steps} events are not shown here" in shown


# Nothing becomes markup


def everywhere(text: str) -> RunReport:
    """A report with this text wherever a text can be, ids and enumerations excepted."""
    events = [
        Event(1.0, f"observer {text}", text, text),
        Event(2.0, f"upstream {text}", "line", f"pid 1 {text}"),
        Event(3.0, f"upstream {text}", "http-request", f'pid 1 {{"n": 1, "target": "{text}"}}'),
        Event(4.0, "client", "in", text, text),
        Event(5.0, "check", text, text),
        Event(6.0, "runner", "signal", text, text),
        Event(7.0, "browser", "opened", text),
    ]
    evidence = Evidence(events, text, text, [text], text)
    results = tuple(
        Result(
            id=id_,
            level=Level.MUST,
            era=Era.ANY,
            verdict=verdict,
            title=text,
            statement=text,
            observed=text,
            message="beyond" + text,
            expected=text,
            seen=text,
            source=text,
            quote=text,
            duration_s=1.0,
            evidence=evidence,
            rerun=text,
            attempts=(Attempt(Verdict.TIMEOUT, text + "1", 1.0), Attempt(verdict, text + "2", 1.0)),
            known=known,
        )
        for id_, verdict, known in (
            ("CFG-001", Verdict.PASS, None),
            ("CFG-002", Verdict.FAIL, None),
            ("CFG-003", Verdict.FAIL, text),
        )
    )
    return RunReport(
        implementation=text,
        command=(text, text),
        homepage=f"javascript:{text}",
        version=text + "0",
        results=results,
        specification=text + "1",
        runner=text + "2",
        started=text + "3",
        families={"CFG": text + "4"},
    )


def skeletons(text: str) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    page = render_comparison([everywhere(text), everywhere("another")])
    for part in (page, *packed_logs(page)):
        parsed = Page(part)
        assert parsed.comments == []
        yield parsed.skeleton


HARMLESS = list(skeletons("x"))


def not_blank(text: str) -> bool:
    return text.strip() != ""


_MARKUP = ["<", "</script>", "<!--", "-->", "]]>", '"', "'", "&lt", "{{", "%}", "/", "\0"]
_UNSEEN = st.characters(codec=None, categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Po", "Sm"])
_TEXTS = st.one_of(
    st.text(min_size=1), st.text(_UNSEEN, min_size=1), st.lists(st.sampled_from(_MARKUP)).map("".join)
)


@settings(max_examples=40)
@given(_TEXTS.filter(not_blank))
def test_any_text_in_any_field_leaves_the_elements_as_they_are(text: str) -> None:
    # Only how steps are drawn (classes) depends on their texts.
    assert list(skeletons(text)) == HARMLESS


def test_hostile_text_is_shown_as_it_is() -> None:
    text = render(everywhere(HOSTILE))
    text.encode()
    page = Page(text)
    shown = (
        HOSTILE.replace("\x1b", "␛")
        .replace("\u202e", "⟨U+202E⟩")
        .replace("\ud800", "⟨U+D800⟩")
        .replace("\0", "␀")
    )
    assert shown in page.text
    assert "<img" not in text
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 2


@pytest.mark.parametrize("id_", ["", "CFG", "x y", '"><script>', "_matrix", "CFG-1.1", "#", "\u202e-001"])
def test_an_invalid_id_stays_text_and_has_another_anchor(id_: str) -> None:
    strange = msgspec.structs.replace(REPORT.results[1], id=id_)
    report = msgspec.structs.replace(REPORT, results=(strange,), not_run=(id_ + "2",), planned=())
    page = Page(render(report))
    targets = page.values("id")
    assert len(targets) == len(set(targets))
    assert visible(id_) in page.text
    assert {"script", "img"} & {tag for tag, _ in page.elements} == {"script"}


def test_every_invisible_character_is_spelt_out() -> None:
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    left = {
        character
        for character in map(chr, range(0x110000))
        if unicodedata.category(character) in hidden and character in visible(character)
    }
    assert left == {"\t", "\n"}
    assert visible("a\x07\x7f\x9b\u200b") == "a␇␡⟨U+009B⟩⟨U+200B⟩"


@given(st.text(), st.integers(0, 20))
def test_a_cut_text_has_the_number_of_missing_characters(text: str, longest: int) -> None:
    shown = cut(text, longest)
    assert shown.startswith(text[:longest])
    assert (shown == text) == (len(text) <= longest)


# The page's own files


def test_the_policy_allows_exactly_the_style_and_the_script_of_the_page() -> None:
    text = render(REPORT)
    page = Page(text)
    (policy,) = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == content_security_policy()
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    # Before anything that it is about.
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert not [
        name
        for name in chain(*(a for _, a in page.elements))
        if name in ("style", "src") or name.startswith("on")
    ]


@pytest.mark.parametrize("name", ["page.css", "page.js"])
def test_an_asset_loads_nothing_and_cannot_end_its_element(name: str) -> None:
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert not re.search(r"</(style|script)|<!--|https?:|url\(|@import|\bimport\b|fetch\(", text)


# The size


def long_report(name: str, *, results: int, failing: int, events: int, text: int) -> RunReport:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}

    def log(at: int) -> list[Event]:
        message = msgspec.json.encode({**body, "params": {name: "x" * text, "at": at}}).decode()
        return [
            Event(float(n), "client" if n % 2 else "proxy", "in" if n % 2 else "out", message)
            for n in range(events)
        ]

    def one(at: int) -> Result:
        error: Any = {"error": Violation("x" * text, "y" * text)} if at < failing else {}
        made = result("CFG-001", **error, evidence=Evidence(log(at), "o" * 4096, "e" * 4096))
        return msgspec.structs.replace(made, id=f"CFG-{at:03}")

    return RunReport(implementation=name, command=(), homepage="", results=tuple(map(one, range(results))))


@pytest.mark.slow
def test_three_long_reports_stay_below_three_megabytes() -> None:
    names = {"one": 0, "two": 60, "three": 120}
    reports = [
        long_report(name, results=193, failing=failing, events=50, text=400)
        for name, failing in names.items()
    ]
    assert len(render_comparison(reports).encode()) <= MAX_BYTES


def test_a_short_report_is_shown_in_full() -> None:
    text = Page(render(long_report("one", results=4, failing=4, events=50, text=400))).text
    assert "x" * 400 in text
    assert "not shown" not in text
