"""Sentences of pages, docstrings and comments have at most 25 words (docs/STYLE.md).

Text in parentheses does not count, and a code span is one word.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from .pages import PAGES, ROOT

MOST_WORDS = 25
_GENERATED = {"CHANGELOG.md", "implementations.md", "requirements.md"}
_PACKAGES = ("dynamic_mcp", "mock_servers", "conformance", "tests")

_CODE = re.compile(r"``.+?``|`[^`]+`")
_ASIDE = re.compile(r"\([^()]*\)")
_END = re.compile(r"(?<=[.!?])[\"')]*\s+")
#: Blank lines, and the beginnings of items, end a paragraph of a docstring.
_PARAGRAPHS = re.compile(r"\n\s*\n|\n(?= *(?:- |\d+\. ))")
_DRAWING = re.compile(r"(?:^|(?<=\n)) {4}.*(?:\n|$)")


def long_sentences(text: str) -> list[str]:
    """The sentences of a paragraph that are too long."""
    text = _CODE.sub("Code", " ".join(text.split()))
    return [sentence for sentence in _END.split(text) if _words(sentence) > MOST_WORDS]


def _words(sentence: str) -> int:
    return sum(any(map(str.isalnum, word)) for word in _ASIDE.sub("", sentence).split())


def paragraphs_of(page: Path) -> Iterator[str]:
    """The paragraphs, items and cells of a page, without its blocks of code."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type == "inline":
            yield "".join(
                {"code_inline": "Code", "softbreak": " ", "hardbreak": " "}.get(child.type, child.content)
                for child in token.children or ()
            )


def docstrings_of(module: Path) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions, without their drawings and examples."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield _DRAWING.sub("\n", ast.get_docstring(node) or "")


def comments_of(module: Path) -> Iterator[str]:
    """The comments of a module; those on consecutive lines are one."""
    lines: list[str] = []
    last = (0, 0)
    with tokenize.open(module) as file:
        comments = [
            token for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT
        ]
    for comment in comments:
        row, column = comment.start
        if lines and last != (row - 1, column):
            yield " ".join(lines)
            lines = []
        lines.append(comment.string.lstrip("#: "))
        last = row, column
    yield " ".join(lines)


def test_long_sentence_is_found() -> None:
    words = " ".join(["word"] * MOST_WORDS)

    assert long_sentences(f"A {words}. Short.") == [f"A {words}."]
    assert long_sentences(f"{words}. {words} (RFC 6749, section 6).") == []
    assert long_sentences(f"{words}.\n`{words}` is code.") == []


def test_comments_on_consecutive_lines_are_one(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("#: one\n#: two\nX = 1  # three\n\n# four\n")

    assert list(comments_of(module)) == ["one two", "three", "four"]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in _GENERATED],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_sentence_of_a_page_is_short(page: Path) -> None:
    assert [long for text in paragraphs_of(page) for long in long_sentences(text)] == []


@pytest.mark.slow
@pytest.mark.parametrize("package", _PACKAGES)
def test_sentence_of_a_module_is_short(package: str) -> None:
    found = {
        str(module.relative_to(ROOT)): long
        for module in sorted((ROOT / package).rglob("*.py"))
        if (
            long := [
                sentence
                for written in (*docstrings_of(module), *comments_of(module))
                for text in _PARAGRAPHS.split(written)
                for sentence in long_sentences(text)
            ]
        )
    }

    assert found == {}
