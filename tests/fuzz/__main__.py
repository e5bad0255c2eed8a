"""Fuzzes the targets one after the other: `python -m tests.fuzz [TARGET ...]`. FUZZ_SECONDS is the time for all of them together."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
DEFAULT_SECONDS = 240
#: bounds of one input: bytes, seconds and MiB of the process
MAX_LENGTH, MAX_TIME, MAX_MEMORY = 1 << 16, 5, 2048


def main() -> int:
    """Run the targets; 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"default: all of {', '.join(TARGETS)}")
    names = parser.parse_args().target or list(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    seconds = max(1, int(os.environ.get("FUZZ_SECONDS", DEFAULT_SECONDS)) // len(names))
    failed = [name for name in names if not _fuzz(name, seconds)]
    sys.stdout.write(f"failed: {', '.join(failed)}\n" if failed else f"{len(names)} targets held\n")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target; false if an input failed, which is then in a file that the output names."""
    found = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    sys.stdout.write(f"\n{name}: {seconds} s, new inputs in {found}\n")
    sys.stdout.flush()
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH}",
        f"-timeout={MAX_TIME}",
        f"-rss_limit_mb={MAX_MEMORY}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.one",
        name,
        *options,
        str(found),
        str(CORPUS / name),
    ]
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.stdout.write(f"{name}: an input failed; copy it to {CORPUS / name} once it is mended\n")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
