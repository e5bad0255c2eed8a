"""Fuzzes one target in this process: `python -m tests.fuzz.one TARGET [options of libFuzzer] FOLDER ...`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dynamic_mcp"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
