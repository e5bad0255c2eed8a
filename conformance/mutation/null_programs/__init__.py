"""Null programs, which are no proxy at all: none of them may pass a check, unless it declares here why.

    python -I -S null_programs/__main__.py NAME [CONFIG]

They use only the standard library, because one kill matrix starts each of them more than a thousand times. All of them are
bounded in time and in resources, although they look endless to a check. The census of the runner ends the processes that they leave
behind. `simple` has those that do next to nothing. `liars` has those that pretend to be a proxy, on top of `relay`, a real one.
"""

from __future__ import annotations

from pathlib import Path

from conformance.mutation.null_programs import liars, simple
from conformance.mutation.null_programs.registry import NULL_PROGRAMS, NullProgram

__all__ = ["MAIN", "NULL_PROGRAMS", "NullProgram", "liars", "simple"]

#: the file that runs a program, without the environment of the runner
MAIN = Path(__file__).resolve().parent / "__main__.py"
