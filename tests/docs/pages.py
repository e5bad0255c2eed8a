"""The pages for readers, and their parts that a test can run.

A fenced block of `sh` is a script with one command a line. Each command succeeds; with `sh exit=1`, the script ends with that status. A
block `text output` after it holds lines of the output, in order. Other lines can stand between them, digits and white space do not count,
and `...` stands for anything. A block such as `json file=NAME` (in any language) is a file for the following commands. The `run:` lines of
`yaml` blocks are commands too. Tests only look up other commands, in code spans of the text.
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
#: every page with commands
PAGES = (
    *(page for folder in (ROOT, ROOT / "docs") for page in sorted(folder.glob("*.md"))),
    *(ROOT / "changes" / "README.md", ROOT / "examples" / "README.md"),
)


@dataclass
class Step:
    """One step of a page: write a file, or run commands and compare their output."""

    line: int
    file: str = ""
    content: str = ""
    commands: list[str] = field(default_factory=list)
    exit: int = 0
    output: list[str] = field(default_factory=list)


def steps(page: Path) -> Iterator[Step]:
    """The steps of a page, in order."""
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
    """Every fenced block: its line, its info string, and its text."""
    for token in _tokens(page):
        if token.type == "fence":
            yield (token.map or [0])[0] + 1, token.info.strip(), token.content


def mentions(page: Path) -> Iterator[str]:
    """The code spans of the text."""
    for token in _tokens(page):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def missing(shown: list[str], output: str) -> str | None:
    """The first shown line that the output does not have after the lines before it; None if it has all of them."""
    rest = _normal(output)
    for line in shown:
        for piece in filter(None, map(_normal, line.split("..."))):
            _, found, rest = rest.partition(piece)
            if not found:
                return line
    return None


def _normal(text: str) -> str:
    return re.sub(r"\d+", "0", " ".join(text.split()))
