"""The HTML report as text: its content, that no text of a report becomes markup, and its size."""

from __future__ import annotations

import base64
import re
import zlib
from html.parser import HTMLParser
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from conformance.errors import Violation
from conformance.model.evidence import Event, Evidence
from conformance.model.results import Result, RunReport
from conformance.reports.formats import FORMATS
from conformance.reports.html import render as html_render
from conformance.reports.html.page import DETAILS
from conformance.reports.html.render import (
    TEMPLATES,
    content_security_policy,
    render,
    render_comparison,
)
from tests.conformance.reports.test_reports import REPORT, result

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

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


def test_three_long_reports_stay_below_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"one": 0, "two": 2, "three": 4}
    reports = [
        long_report(name, results=6, failing=failing, events=50, text=400) for name, failing in names.items()
    ]
    whole = len(render_comparison(reports).encode())
    monkeypatch.setattr(html_render, "MAX_BYTES", whole // 2)
    assert len(render_comparison(reports).encode()) <= whole // 2


def test_a_short_report_is_shown_in_full() -> None:
    text = Page(render(long_report("one", results=4, failing=4, events=50, text=400))).text
    assert "x" * 400 in text
    assert "not shown" not in text
