"""`python -m conformance.bench.imports [ROUNDS]`: what each import of the bundled proxy costs, as the table of docs/performance.md.

The proxy serves one child process and answers one call. Each number is the smallest of the rounds, because other work of the machine can
only add to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from conformance.bench import servers
from conformance.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the parts of the table, by the name of the package; other modules belong to the standard library
PARTS = {
    "dynamic_mcp": "this proxy",
    "anyio": "anyio",
    "asyncio": "asyncio",
    "msgspec": "msgspec",
    "uvloop": "uvloop",
    "ssl": "ssl",
    "_ssl": "ssl",
    "_hashlib": "ssl",
    "typing": "typing",
    "typing_extensions": "typing",
}
OTHERS = "the rest of the standard library"
_LINES = (
    {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}}},
    {"method": "notifications/initialized"},
    {
        "id": 2,
        "method": "tools/call",
        "params": {
            "name": "call_dynamic_tool",
            "arguments": {"group": "a", "name": "echo", "args": {"text": "hello"}},
        },
    },
)
_DEADLINE = 60.0
_PROGRAM = Path(__file__).with_name("import_costs.py")


class Cost(NamedTuple):
    """The cost of one import without nested ones."""

    microseconds: int
    kilobytes: int


def costs_of_a_start() -> dict[str, Cost]:
    """What a start imports until its end after one call, by the name of the module. Raises `HarnessError`."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config, report = Path(folder, "config.json"), Path(folder, "report.json")
        config.write_text(json.dumps({"mcpServers": {"a": servers.stdio()}}))
        finished = subprocess.run(
            [sys.executable, str(_PROGRAM), str(report), "dynamic_mcp", str(config)],
            input="".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in _LINES),
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
        )
        if "hello" not in finished.stdout or not report.exists():
            raise HarnessError(f"the call failed: {finished.stdout[-200:]} {finished.stderr[-200:]}")
        return {module: Cost(*cost) for module, cost in json.loads(report.read_text()).items()}


def part_of(module: str) -> str:
    """The part of the table that a module belongs to."""
    return PARTS.get(module.partition(".")[0], OTHERS)


def table(costs: Mapping[str, Cost]) -> str:
    """The Markdown table of the modules, the most expensive part first."""
    parts: dict[str, list[Cost]] = {}
    for module, cost in costs.items():
        parts.setdefault(part_of(module), []).append(cost)
    rows = sorted(parts.items(), key=lambda row: -sum(cost.microseconds for cost in row[1]))
    rows.append(("all", [*costs.values()]))
    lines = ["| part | modules | processor time | memory |", "| --- | ---: | ---: | ---: |"]
    for part, found in rows:
        milliseconds = sum(cost.microseconds for cost in found) / 1000
        megabytes = sum(cost.kilobytes for cost in found) / 1000
        lines.append(f"| {part} | {len(found)} | {milliseconds:.1f} ms | {megabytes:.1f} MB |")
    return "\n".join(lines)


def main(rounds: int) -> None:
    """Print the table."""
    best: dict[str, Cost] = {}
    for _ in range(rounds):
        for module, cost in costs_of_a_start().items():
            best[module] = Cost(*map(min, cost, best.get(module, cost)))
    print(table(best))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
