"""Every input of the corpus holds for its target, in time and memory that its size justifies."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS

#: processor time in seconds, generous enough for a machine that traces every line
MAX_TIME = 2.0
#: bytes for each byte of the input, and those for any input
PER_BYTE, FIXED = 256, 1 << 20
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.fixture
def traced_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == TARGETS.keys()


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_input_holds_in_time_and_memory(path: Path, traced_memory: None) -> None:
    target, data = TARGETS[path.parent.name], path.read_bytes()
    # The first run also loads modules.
    target(data)
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.process_time()
    target(data)

    assert time.process_time() - began < MAX_TIME
    assert tracemalloc.get_traced_memory()[1] - before < FIXED + PER_BYTE * len(data)
