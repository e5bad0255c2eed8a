"""No text of a report becomes markup in the HTML page, and every character of it is visible."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.model.evidence import Event, Evidence
from conformance.model.registry import Era, Reach
from conformance.model.results import Attempt, Result, RunReport
from conformance.model.verdicts import Level, Verdict
from conformance.reports.html.render import (
    render,
    render_comparison,
)
from conformance.reports.html.visible import cut, visible
from tests.conformance.reports.test_html import Page, packed_logs
from tests.conformance.reports.test_reports import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator


HOSTILE = "</script><img src=x onerror=alert(1)>\"'`{{ 7*7 }}<!-- \x1b[31m \u202e \ud800 \0"


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
            reach=Reach.PROXY,
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
