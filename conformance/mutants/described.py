"""The mutants of each requirement in words: their names, and what their docstrings add.

This module reads the source, so that `show` and the page of the requirements do not import the reference.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from conformance import mutants

if TYPE_CHECKING:
    from collections.abc import Iterator


@lru_cache
def wrong_implementations() -> dict[str, dict[str, str]]:
    """By the id of the requirement: the names of its mutants, each with its docstring on one line."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(Path(mutants.__path__[0]).glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                for requirement_id in _kills(node):
                    found.setdefault(requirement_id, {})[node.name.replace("_", "-")] = text
    return found


def _kills(function: ast.FunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(func=ast.Name("mutant"), args=[ast.Constant(str(requirement_id)), *_]):
                yield requirement_id
