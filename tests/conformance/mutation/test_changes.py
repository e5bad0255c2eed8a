"""How a mutant changes the reference: `replace` for functions, `set_constant` for constants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from conformance.errors import HarnessError
from conformance.mutants import replace, set_constant

ROOT = Path(__file__).parents[3]


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A loaded module of the reference with two constants that are one object."""
    return loaded(monkeypatch, "first", WAIT=30.0, STEADY=30.0)


def loaded(monkeypatch: pytest.MonkeyPatch, name: str, **values: object) -> ModuleType:
    module = ModuleType(f"dynamic_mcp.test_{name}")
    vars(module).update(values)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_constant_changes_alone(first: ModuleType) -> None:
    set_constant(first, "WAIT", 5.0)

    assert (first.WAIT, first.STEADY) == (5.0, 30.0)


def test_a_constant_changes_also_where_it_is_imported(
    first: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = loaded(monkeypatch, "importer", WAIT=first.WAIT)
    namesake = loaded(monkeypatch, "namesake", WAIT=10.0)

    set_constant(first, "WAIT", 5.0)

    assert (importer.WAIT, namesake.WAIT) == (5.0, 10.0)


def test_an_unknown_constant_is_an_error(first: ModuleType) -> None:
    with pytest.raises(
        HarnessError, match=r"dynamic_mcp.test_first.GONE is not part of the reference any more"
    ):
        set_constant(first, "GONE", 5.0)


@pytest.mark.parametrize("value", [30.0, 500, True, "text", b"", (), (2.0, 4.0), frozenset(), None])
def test_a_value_that_unrelated_names_can_share_is_not_replaced(value: object) -> None:
    with pytest.raises(HarnessError, match="use set_constant"):
        replace(value, 5.0)


@pytest.mark.parametrize(
    ("mutant", "expected"),
    [("retries-every-five-seconds", "5.0 30.0"), ("gives-up-after-the-initial-retries", "3600.0 30.0")],
)
def test_a_mutant_of_the_backoff_changes_one_of_its_delays(mutant: str, expected: str) -> None:
    program = (
        "import sys; from conformance.mutants.loading import load_mutant; load_mutant(sys.argv[1]).apply(); "
        "from dynamic_mcp.groups import backoff; print(backoff.RETRY_FOREVER, backoff.STEADY)"
    )
    command = [sys.executable, "-c", program, mutant]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)

    assert run.stdout.strip() == expected
