"""`python -m conformance.official server|client|mocks|all [options] [-- COMMAND {config}]`.

Exit status: 0 all scenarios that ran passed; 1 a scenario failed; 2 wrong command line or `skipped.toml`; 3 the suite cannot run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.errors import HarnessError, UsageError
from conformance.model.sut import DEFAULT_COMMAND
from conformance.official.judging import judge, planned
from conformance.official.node import SUITE, Node
from conformance.official.plan import PARTS, Part, Plan
from conformance.official.suite import ScenarioOutcome, Suite
from conformance.reports.text import lines

_TITLES: dict[Part, str] = {
    "server": "The proxy as a server",
    "serve": "The proxy as a server over HTTP",
    "client": "The proxy as a client",
    "mocks": "The mocks",
}

#: of the tables in a log, which has no width of its own
_LOG_WIDTH = 140


def default_folder() -> Path:
    """The default folder of the npm packages."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "dynamic-mcp-official"


def installed_suite(folder: Path) -> Suite:
    """The pinned suite, which this function installs if necessary. Raises `HarnessError`."""
    node = Node.find()
    return Suite(node.installed(SUITE, folder), node.environment())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    own, command = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = _parser().parse_args(own)
    console = Console() if sys.stdout.isatty() else Console(width=_LOG_WIDTH)
    parts = PARTS if options.part == "all" else (options.part,)
    try:
        suite = installed_suite(options.folder)
        problems = [asyncio.run(_run(console, suite, part, command, options.only)) for part in parts]
    except UsageError as problem:
        print(lines(f"official: {problem}"), file=sys.stderr)
        return 2
    except HarnessError as problem:
        print(lines(f"official: {problem}"), file=sys.stderr)
        return 3
    return 1 if any(problems) else 0


async def _run(
    console: Console, suite: Suite, part: Part, command: Sequence[str], only: Sequence[str]
) -> int:
    """Judge one part and print the results; returns the number of failed scenarios."""
    chosen = await planned(suite, part, only)
    done: list[ScenarioOutcome] = []

    def show(outcome: ScenarioOutcome) -> None:
        done.append(outcome)
        if console.is_terminal:
            status.update(f"{len(done)}/{len(chosen.run)} {outcome.scenario}")

    with console.status(_TITLES[part]) as status:
        outcomes = await judge(suite, part, chosen.run, command, show)
    console.print(table(part, chosen, outcomes))
    failed = [outcome for outcome in outcomes if outcome.problems]
    for outcome in failed:
        console.print(
            Text.assemble((f"\n{outcome.scenario}", "bold red"), "\n", lines("\n".join(outcome.problems))),
            soft_wrap=True,
        )
    for reason in dict.fromkeys(chosen.skipped.values()):
        names = dict.fromkeys(one.name for one, why in chosen.skipped.items() if why == reason)
        console.print(
            Text.assemble(("skipped ", "dim"), ", ".join(names), (f": {reason}", "dim")), soft_wrap=True
        )
    console.print(
        f"{len(outcomes) - len(failed)} passed, {len(failed)} failed, {len(chosen.skipped)} skipped\n"
    )
    return len(failed)


def table(part: Part, chosen: Plan, outcomes: Sequence[ScenarioOutcome]) -> Table:
    """A row for each scenario and a column for each revision, with the number of passed checks."""
    cells = {outcome.scenario: _cell(outcome) for outcome in outcomes}
    cells |= {scenario: Text("skipped", "dim") for scenario in chosen.skipped}
    revisions = sorted({scenario.revision for scenario in cells})
    result = Table(
        "scenario", *revisions, title=f"{_TITLES[part]}: {SUITE[0]} {SUITE[1]}", title_justify="left"
    )
    for name in dict.fromkeys(scenario.name for scenario in cells):
        row = {scenario.revision: cell for scenario, cell in cells.items() if scenario.name == name}
        result.add_row(name, *(row.get(revision, "") for revision in revisions))
    return result


def _cell(outcome: ScenarioOutcome) -> Text:
    return Text("failed", "red") if outcome.problems else Text(f"passed {outcome.passed}", "green")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.official",
        description="Let the official MCP conformance suite judge the proxy and the mocks. It needs Node 22.",
        epilog="The command line of the proxy follows --, with {config} for its configuration file, "
        "and {listen} for the address of a proxy that listens.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "part",
        choices=[*PARTS, "all"],
        help="the part to judge: the proxy as a server on stdio or over HTTP, or as a client, or the mocks",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="only scenarios whose name@revision contains TEXT (repeatable)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=default_folder(),
        help="the folder of the npm packages (default: %(default)s)",
    )
    return parser


def _split(arguments: list[str]) -> tuple[list[str], tuple[str, ...]]:
    if "--" not in arguments:
        return arguments, DEFAULT_COMMAND
    at = arguments.index("--")
    return arguments[:at], tuple(arguments[at + 1 :]) or DEFAULT_COMMAND


if __name__ == "__main__":
    sys.exit(main())
