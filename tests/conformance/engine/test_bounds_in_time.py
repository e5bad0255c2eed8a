"""An expectation about a time says so, because the runner repeats alone what a busy machine can change."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import checks
from conformance.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = sorted(Path(checks.__file__).parent.glob("*.py"))
#: how the conditions of the checks name a time
A_TIME = re.compile(
    r"\b(?:monotonic\(\)|took|late|waited|pause|idle|seconds)\s*[<>]|[<>]=?\s*(?:deadline|took)\b"
)


def test_every_expectation_about_a_time_is_repeated_when_it_fails() -> None:
    found = {
        f"{path.name}:{line}": expected
        for path in MODULES
        for line, expected, is_timed in expectations(path.read_text(encoding="utf-8"))
        if not is_timed
    }

    assert found == {}


def test_the_forms_of_an_expectation_are_found() -> None:
    source = (
        "def check():\n"
        "    workbench.expect(took < 1.5, 'it comes at once', took)\n"
        "    workbench.expect(took < 1.5, 'it comes at once', took, timed=True)\n"
        "    what = f'within {LIMIT:g} s'\n"
        "    workbench.expect(monotonic() < deadline, what, took)\n"
        "    workbench.expect(len(took) < 2, 'at most one', took)\n"
    )

    assert list(expectations(source)) == [
        (2, "it comes at once", False),
        (3, "it comes at once", True),
        (5, "within 1 s", True),
    ]


def expectations(source: str) -> Iterator[tuple[int, str, bool]]:
    """The line, the words and the kind of each `expect` whose condition compares a time."""
    tree = ast.parse(source)
    texts = [
        (node.lineno, node.targets[0].id, words(node.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "expect"
        ):
            continue
        condition, expected = node.args[:2]
        if A_TIME.search(ast.unparse(condition)):
            text = words(expected)
            if isinstance(expected, ast.Name):
                text = max(one for one in texts if one[1] == expected.id and one[0] < node.lineno)[2]
            named = any(keyword.arg == "timed" for keyword in node.keywords)
            yield node.lineno, text, named or Violation(text, "").timed


def words(node: ast.expr) -> str:
    """A text of the source, with 1 for each value that is put into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(words(value) for value in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "1"
