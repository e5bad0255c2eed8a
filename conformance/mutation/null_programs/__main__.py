"""Runs one null program."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[3])
)  # an isolated interpreter does not know its own project

from conformance.mutation.null_programs import NULL_PROGRAMS

if __name__ == "__main__":
    NULL_PROGRAMS[sys.argv[1]].run(sys.argv[2:])
