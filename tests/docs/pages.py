"""The pages for readers, and what in them a machine can try out.

A fenced block of `sh` is a script of commands, one a line; `sh exit=1` says that it ends with this status, else each
command succeeds. `text output` behind it holds lines of its output, in order; other lines may stand between them, digits
and white space do not count, and `...` stands for anything. `json file=NAME` (any language) is a file that the following
commands find. `run:` lines of `yaml` blocks are commands, too. What looks like a command in any other block, or between
backticks in the text, is only looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
#: written by hand, so that commands may be in them
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md")


@dataclass
class Step:
    """One thing to do on a page: write a file, or run commands and look at what they print."""

    line: int
    file: str = ""
    content: str = ""
    commands: list[str] = field(default_factory=list)
    exit: int = 0
    output: list[str] = field(default_factory=list)


def steps(page: Path) -> Iterator[Step]:
    """What a page has, in order."""
    last = None
    for line, info, content in fences(page):
        language, _, attributes = info.partition(" ")
        named = dict(word.partition("=")[::2] for word in attributes.split())
        if language == "text" and "output" in named:
            assert last is not None and last.commands, f"{page.name}:{line}: the output of which command?"
            last.output += content.splitlines()
            continue
        if "file" in named:
            last = Step(line, file=named["file"], content=content)
        elif language == "sh":
            # A backslash at the end continues a command, as in a shell.
            commands = content.replace("\\\n", " ").splitlines()
            last = Step(
                line, commands=[one for one in commands if one.strip()], exit=int(named.get("exit", "0"))
            )
        elif language == "yaml":
            last = Step(line, commands=re.findall(r"^\s*- run: (.+)$", content, re.MULTILINE))
        else:
            continue
        yield last


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))


def fences(page: Path) -> Iterator[tuple[int, str, str]]:
    """Every fenced block: its line, what stands behind the backticks, and its text."""
    for token in _tokens(page):
        if token.type == "fence":
            yield (token.map or [0])[0] + 1, token.info.strip(), token.content


def mentions(page: Path) -> Iterator[str]:
    """What stands between backticks in the text."""
    for token in _tokens(page):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def missing(shown: list[str], output: str) -> str | None:
    """The first of the shown lines that does not follow the ones before it in the output; None = all do."""
    rest = _normal(output)
    for line in shown:
        for piece in filter(None, map(_normal, line.split("..."))):
            _, found, rest = rest.partition(piece)
            if not found:
                return line
    return None


def _normal(text: str) -> str:
    return re.sub(r"\d+", "0", " ".join(text.split()))
