"""The words about mutants come from the source and are those of the registered mutants; reading them loads no proxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.mutants.described import wrong_implementations
from conformance.mutants.loading import load_mutants

ROOT = Path(__file__).parents[3]


def test_every_mutant_is_described_under_its_requirement() -> None:
    registered: dict[str, set[str]] = {}
    for mutant in load_mutants().values():
        registered.setdefault(mutant.kills, set()).add(mutant.name)

    assert {id_: set(names) for id_, names in wrong_implementations().items()} == registered


def test_texts_are_whole_sentences() -> None:
    texts = [text for names in wrong_implementations().values() for text in names.values() if text]

    assert texts
    assert [text for text in texts if not text.endswith(".")] == []


@pytest.mark.slow
def test_show_and_the_page_do_not_load_the_reference() -> None:
    program = (
        "import sys; from conformance.cli import main; main(['show', 'STD-013']); main(['requirements', '-']); "
        "print([name for name in sys.modules if name.partition('.')[0] == 'dynamic_mcp'])"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert run.stdout.splitlines()[-1] == "[]"
