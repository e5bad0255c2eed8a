"""Prints again what failed in a whole run of `tox`: the last environment, so that the end of a long log names the failures.

It reads the logs that tox keeps of each command. The red checks come first, then the last lines of each failed command.
"""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_LAST_LINES = 40
_STATUS = re.compile(r"^exit_code: (-?\d+)\n", re.MULTILINE)
_COMMAND = re.compile(r"^cmd: (.*)$", re.MULTILINE)
#: a line of progress in a conformance run, unless a second attempt follows
_RED_CHECK = re.compile(
    r"^([A-Z]+-\d+) +(?:fail|warn|crash|timeout|untestable|harness-error)\b(?!.*will be retried).*$",
    re.MULTILINE,
)


def environments(root: Path) -> list[str]:
    """The environments that `tox` runs without arguments, in order."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini", encoding="utf-8")
    return re.findall(r"[\w-]+", tox["tox"]["env_list"])


def failures(root: Path, work_dir: Path) -> Iterator[str]:
    """Lines about each command that failed in the last run of these environments. `work_dir` is the folder of tox."""
    for name in environments(root):
        for file in sorted((work_dir / name / "log").glob("*-commands[[]*.log")):
            text = file.read_text(encoding="utf-8", errors="replace")
            status, command = _STATUS.search(text), _COMMAND.search(text)
            if status is None or status[1] != "0":
                yield f"{name} failed: {command[1] if command else 'a command'}"
                yield f"  all output: {file}"
                yield from _shown(text[status.end() :] if status else text)


def _shown(output: str) -> Iterator[str]:
    last = output.splitlines()[-_LAST_LINES:]
    red: dict[str, str] = {}
    for found in _RED_CHECK.finditer(output):
        red.setdefault(found[1], found[0])
    yield from (f"  {line}" for line in red.values() if line not in last)
    yield from (f"  | {line}" for line in last)


if __name__ == "__main__":
    lines = [*failures(Path(__file__).parents[1], Path(sys.argv[1]))]
    sys.stdout.write("\n".join(lines or ["No command failed."]) + "\n")
