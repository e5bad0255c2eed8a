"""`python -m conformance requirements`: the registry as a page for readers, `docs/requirements.md`.

The page holds every field of every entry and its mutants, and nothing else, so `--check` only renders it again and compares the text.
Anchors are the ids in small letters, which never change. Texts may hold code in backticks; the page escapes all other Markdown.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import HarnessError, UsageError
from conformance.model.registry import VERSION, Reach, Registry
from conformance.mutants.described import wrong_implementations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.model.registry import Requirement, Source

PAGE = Path("docs", "requirements.md")

_INTRODUCTION = f"""\
# Requirements of an MCP proxy

Version {VERSION}. `python -m conformance requirements` writes this page from `conformance/requirements/*.toml` and the mutants in
`conformance/mutants/`; edit those files.

Every requirement has a permanent id and a level. MUST, SHOULD and MAY are those of the source, as in RFC 2119. DOC stands for a promise
of the documents of dynamic-mcp, instead of a protocol. The era of a requirement names the protocol revisions: `legacy` are those with the
`initialize` handshake, `modern` is 2026-07-28, `any` is both. *From MCP* names the revision that introduced a demand; it does not count
for a proxy that offers its servers only older ones. The reach names the proxies: `proxy` is every MCP proxy or gateway,
`several-upstreams` is one with several servers at once, `dynamic-mcp` is one with the two tools, the configuration and the documents of
dynamic-mcp. Version 1.3 introduced it. *Observed* tells what the check sets up and observes, from outside only. *Timing* gives the times of
the check. Where no source gives a time, it is the patience of the runner: an answer that has not come by then counts as missing.
*Wrong implementations* are the mutants that the check must catch; `python -m conformance mutants NAME` tests one. Where sources
contradict each other, *Conflict* tells which one counts.

The version grows with each release that adds, changes or retires a demand; the page lists the changes of each version. A part of a demand
that gets an id of its own is no new demand. Wording, sources and ways of observing change without a new version. Every report names its
version of the requirements.
"""

#: the addresses of the documents; the first pattern that fits counts
_LINKS = (
    (r"MCP (\d{4}-\d\d-\d\d)", r"https://modelcontextprotocol.io/specification/\1"),
    (r"RFC (\d+)", r"https://www.rfc-editor.org/rfc/rfc\1"),
    (r"dynamic-mcp .*", r"https://github.com/asyrjasalo/dynamic-mcp"),
    (r"JSON-RPC 2\.0", r"https://www.jsonrpc.org/specification"),
    (r"OAuth 2\.1", r"https://datatracker.ietf.org/doc/draft-ietf-oauth-v2-1/"),
    (r"WHATWG SSE", r"https://html.spec.whatwg.org/multipage/server-sent-events.html"),
    (r"CWE", r"https://cwe.mitre.org/"),
    (r"official MCP .*", r"https://github.com/modelcontextprotocol/conformance"),
)
_ROBUSTNESS = "robustness"
_FIRST = "1.0"

# Markdown leaves an underscore within a word alone, and an escape would spoil the many names in the texts.
_MARKUP = re.compile(r"[\\*<>\[\]~|$#]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")


def main(words: Sequence[str]) -> int:
    """Write or compare the page. Exit status: 0, 1 if it differs from the registry, 2 wrong usage, 3 a broken registry."""
    options = _parser().parse_args(words)
    try:
        text = page(Registry.load())
        if options.file == Path("-"):
            print(text, end="")
            return 0
        if options.check:
            return _check(options.file, text)
        options.file.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"conformance: {options.file}: {error.strerror or error}", file=sys.stderr)
        return 2
    except (HarnessError, UsageError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 3 if isinstance(error, HarnessError) else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance requirements",
        description="Write all requirements as one Markdown page.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the page is not up to date"
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=PAGE, metavar="FILE", help=f"default: {PAGE}; - = stdout"
    )
    return parser


def _check(file: Path, text: str) -> int:
    if file.read_text(encoding="utf-8") == text:
        return 0
    print(
        f"conformance: {file} differs from the registry: run `python -m conformance requirements`",
        file=sys.stderr,
    )
    return 1


def page(registry: Registry) -> str:
    """The whole page."""
    parts = [_INTRODUCTION, *_contents(registry)]
    for family, title in registry.families.items():
        members = [requirement for requirement in registry if requirement.family == family]
        parts += [f'## <a id="{family.lower()}"></a>{family}: {_escaped(title)}\n', _table(members)]
        parts += ["\n".join(_entry(requirement)) for requirement in members]
    return "\n".join([*parts, *_documents(registry), *_changes(registry)])


def _contents(registry: Registry) -> Iterator[str]:
    counts = Counter(requirement.family for requirement in registry)
    yield "## Contents\n"
    lines = [
        f"- [{family}](#{family.lower()}) {_escaped(title)} ({counts[family]})"
        for family, title in registry.families.items()
    ]
    lines.append("- [Documents](#documents)")
    lines += [f"- [{_heading(version)}](#{_anchor(version)})" for version in _versions(registry)]
    yield "\n".join(lines) + "\n"
    reach = Counter(one.reach for one in registry)
    yield f"By reach: {', '.join(f'{reach[one]} {one}' for one in Reach if reach[one])}.\n"
    for heading, chosen in (
        ("Sources contradict each other in", [one for one in registry if one.conflict is not None]),
        ("No check exists yet for", [one for one in registry if one.planned]),
        ("Retired are", [one for one in registry if one.retired is not None]),
    ):
        if chosen:
            yield f"{heading} {len(chosen)} requirements: {', '.join(_link(one.id) for one in chosen)}.\n"


def _table(members: Sequence[Requirement]) -> str:
    rows = [
        f"| {_link(one.id)} | {one.level} | {one.era} | {one.reach} | {_escaped(one.title)} |"
        for one in members
    ]
    return (
        "\n".join(["| id | level | era | reach | title |", "| --- | --- | --- | --- | --- |", *rows]) + "\n"
    )


def _entry(requirement: Requirement) -> Iterator[str]:
    yield f'### <a id="{requirement.id.lower()}"></a>{requirement.id} {_escaped(requirement.title)}\n'
    state = " Planned: no check exists yet." if requirement.planned else ""
    yield f"{requirement.nature}.{state}\n"
    if requirement.retired is not None:
        yield f"**Retired:** {_escaped(requirement.retired)}\n"
    yield f"{_paragraph(requirement.statement)}\n"
    for source in requirement.sources:
        yield f"- *Source:* {_source(source)}"
    for label, text in requirement.details.items():
        yield f"- *{label.capitalize()}:* {_escaped(text)}"
    if mutants := wrong_implementations().get(requirement.id):
        yield f"- *Wrong implementations:* {'; '.join(starmap(_mutant, mutants.items()))}."
    yield ""


def _mutant(name: str, text: str) -> str:
    return f"`{name}` ({_escaped(text.removesuffix('.'))})" if text else f"`{name}`"


def _source(source: Source) -> str:
    if source.document == _ROBUSTNESS:
        return f"{_ROBUSTNESS}: {_escaped(source.place)}"
    return _escaped(str(source)) + (f': "{_escaped(source.quote)}"' if source.quote else "")


def _documents(registry: Registry) -> Iterator[str]:
    counts = Counter(document for one in registry for document in {source.document for source in one.sources})
    yield "## Documents\n"
    yield "The number of requirements that each document is a source of. *Robustness* is no document; such a source names the reason.\n"
    rows = [f"| {_linked_document(document)} | {counts[document]} |" for document in sorted(counts)]
    yield "\n".join(["| document | requirements |", "| --- | --- |", *rows]) + "\n"


def _versions(registry: Registry) -> list[str]:
    """The versions after the first one, the newest first."""
    changed = {change.version for one in registry for change in one.changed}
    return sorted(changed | {one.since for one in registry} - {_FIRST}, reverse=True)


def _heading(version: str) -> str:
    return f"Changes in {version}"


def _anchor(version: str) -> str:
    return f"changes-{version}"


def _changes(registry: Registry) -> Iterator[str]:
    for version in _versions(registry):
        yield f'## <a id="{_anchor(version)}"></a>{_heading(version)}\n'
        rows = [
            f"| {_link(one.id)} | {_escaped(change.what)} | {_escaped(change.why)} |"
            for one in registry
            for change in one.changed
            if change.version == version
        ]
        if new := [_link(one.id) for one in registry if one.since == version]:
            yield f"New: {', '.join(new)}.\n"
        if rows:
            yield "\n".join(["| id | change | reason in the sources |", "| --- | --- | --- |", *rows]) + "\n"


def _linked_document(document: str) -> str:
    for pattern, address in _LINKS:
        match = re.fullmatch(pattern, document)
        if match is not None:
            return f"[{_escaped(document)}]({match.expand(address)})"
    return _escaped(document)


def _link(requirement_id: str) -> str:
    return f"[{requirement_id}](#{requirement_id.lower()})"


def _paragraph(text: str) -> str:
    """The escaped text of a paragraph, whose beginning Markdown must not take for a list."""
    return re.sub(r"^(\d*)(?=[-+.)])", r"\1\\", _escaped(text))


def _escaped(text: str) -> str:
    """The text on one line, with no markup except code in backticks."""
    pieces = " ".join(text.split()).split("`")
    if len(pieces) % 2 == 0:
        # A backtick without a partner is an ordinary character.
        return "\\`".join(_MARKUP.sub(r"\\\g<0>", piece) for piece in pieces)
    return "`".join(
        piece if number % 2 else _MARKUP.sub(r"\\\g<0>", piece) for number, piece in enumerate(pieces)
    )
