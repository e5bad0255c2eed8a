"""The one-way rules between the three packages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = [
    ("dynamic_mcp", {"mock_servers", "conformance", "mcp"}),
    ("mock_servers", {"dynamic_mcp", "conformance"}),
    ("conformance", {"dynamic_mcp"}),
]


def imported_packages(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(("package", "forbidden"), FORBIDDEN)
def test_a_package_imports_nothing_it_must_not_know(package: str, forbidden: set[str]) -> None:
    modules = [
        path
        for path in (ROOT / package).rglob("*.py")
        if not path.is_relative_to(ROOT / "conformance" / "mutants")
    ]
    offenders = {
        str(path): found for path in modules if (found := imported_packages(path.read_text()) & forbidden)
    }

    assert modules
    assert offenders == {}
