"""Names of this repository: one public class name means one class, and the name of a question means an answer."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dynamic_mcp", "mock_servers", "conformance")
QUESTION = re.compile(r"_?(is|has|can|are|was|were|had)_")
ANSWERS = ("bool", "TypeGuard", "TypeIs")
#: the name of a function with such a decorator is a sentence about a proxy or a server
SENTENCES = ("check", "mutant", "legitimate", "null_program", "hostile")


@pytest.mark.slow
def test_public_class_names_are_unique() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(path.relative_to(ROOT)))

    assert found
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def questions_without_answer(source: str) -> list[str]:
    """The functions whose names ask a question although they do not return bool."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and QUESTION.match(node.name)
        and not {ast.unparse(one).partition("(")[0] for one in node.decorator_list} & {*SENTENCES}
        and not (node.returns and ast.unparse(node.returns).startswith(ANSWERS))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_name_of_a_question_means_an_answer(package: str) -> None:
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths
    found = {
        str(path.relative_to(ROOT)): names
        for path in paths
        if (names := questions_without_answer(path.read_text(encoding="utf-8")))
    }
    assert found == {}, "such a name begins with must_ if the function raises, and with a command if it acts"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def is_right() -> None: ...", ["is_right"]),
        ("class A:\n    async def _has_all(self) -> tuple[bool, int]: ...", ["_has_all"]),
        ("def is_right(value: object) -> TypeGuard[str]: ...", []),
        ("@check('CFG-001')\ndef is_right() -> None: ...", []),
        ("def must_be_right() -> None: ...", []),
    ],
)
def test_question_without_answer_is_found(source: str, names: list[str]) -> None:
    assert questions_without_answer(source) == names
