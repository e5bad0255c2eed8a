"""Renders one self-contained page from the reports of one or several runs: a matrix, and the evidence of every check.

Guarantees: the page loads nothing. All content of a report stays text: the page escapes every value and shows invisible characters. Its
Content-Security-Policy allows only its own style and script. A reader needs no JavaScript. The same reports give the same page. The page
stays below `MAX_BYTES`, because it shows less of each log and message if necessary.

Limits: with very many results even the shortest form is larger. The whole log of a passed check is packed (deflate) and needs JavaScript;
without it, the page shows the two ends.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from conformance.model.registry import Reach
from conformance.model.verdicts import Level
from conformance.reports.html import page
from conformance.reports.html.visible import cut, cut_front, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.model.results import RunReport

MAX_BYTES = 3_000_000
TEMPLATES = Path(__file__).resolve().parent / "templates"

#: separates packed logs; `visible` removes it from every text
_SEPARATOR = "\0"


def render(report: RunReport) -> str:
    """The page of one run."""
    return render_comparison([report])


def render_comparison(reports: Sequence[RunReport]) -> str:
    """The page of several runs side by side, in the order given."""
    rows = page.rows_of(reports)
    *larger, smallest = page.DETAILS
    for detail in larger:
        if page.least_bytes(rows, detail) <= MAX_BYTES:
            text = _render(reports, rows, detail)
            if len(text.encode()) <= MAX_BYTES:
                return text
    return _render(reports, rows, smallest)


def content_security_policy() -> str:
    """The policy that allows the page only its own style and script."""
    style, script = (_hash(_asset(name)) for name in ("page.css", "page.js"))
    return f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"


def _render(reports: Sequence[RunReport], rows: list[page.PageRow], detail: page.Detail) -> str:
    runs = page.runs_of(reports, rows)
    families = page.families_of(reports, rows)
    log = _environment().get_template("log.html.jinja").module.log  # type: ignore[attr-defined]
    logs: list[str] = []

    def pack(cell: page.PageCell) -> int | None:
        """The number of the packed log, or None if the page shows the whole log."""
        diagram = cell.packed_diagram(detail)
        if diagram == cell.diagram(detail):
            return None
        logs.append(str(log(diagram)))
        return len(logs) - 1

    words = sorted({token for row in rows for token in row.tokens} - {page.NOT_PASSED})
    about = [row.about for row in rows if row.about is not None]
    names = ", ".join(run.report.implementation for run in runs)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=f"Conformance of {names}",
            policy=content_security_policy(),
            style=Markup(_asset("page.css")),
            script=Markup(_asset("page.js")),
            runs=runs,
            rows=rows,
            families=families,
            detail=detail,
            pack=pack,
            logs=lambda: _packed(logs),
            family_choices=[(family.name, f"{family.name} {family.title}") for family in families],
            level_choices=[
                (level, level) for level in Level if any(result.level is level for result in about)
            ],
            era_choices=[(era, era) for era in sorted({result.era for result in about})],
            reach_choices=[
                (reach, reach) for reach in Reach if any(result.reach is reach for result in about)
            ],
            verdict_choices=[(word, word) for word in (page.NOT_PASSED, *words)],
        )
    )


def _packed(logs: Sequence[str]) -> str:
    """All logs as one raw deflate stream, which is short because the logs resemble each other."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = packer.compress(_SEPARATOR.join(logs).encode()) + packer.flush()
    return base64.b64encode(data).decode()


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cut": cut, "cut_front": cut_front, "breakable": _breakable, "content": _content}
    return environment


def _content(text: str) -> Markup:
    """The text escaped for the content of an element, with plain quotes, because JSON has very many of them."""
    return Markup(str(escape(visible(text))).replace("&#34;", '"').replace("&#39;", "'"))


def _breakable(text: str) -> Markup:
    """The text with a possible line break after each slash, because names of methods and paths are long."""
    return Markup("/<wbr>").join(visible(part) for part in text.split("/"))


def _finalize(value: Any) -> Any:
    """Make every value visible that enters the page. Only templates and the page's own files are `Markup`."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@lru_cache
def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
