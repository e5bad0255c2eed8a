"""`python -m conformance bench`: the command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from conformance.bench import chart, tables
from conformance.bench.figures import BenchReport
from conformance.bench.guard import guard
from conformance.bench.measure import measure, version_of
from conformance.bench.targets import ProxyTarget
from conformance.bench.workloads import WORKLOADS
from conformance.engine.outputs import prove_writable, write
from conformance.errors import HarnessError, UsageError
from conformance.model.profile import Profile
from conformance.model.sut import make_sut
from conformance.reports.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.bench.workloads import BenchWorkload

#: the documented run, which the guard compares with
DOCUMENTED = Path("docs/performance.json")
PASSED, SLOW, USAGE, BROKEN = 0, 1, 2, 3


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="conformance bench",
        description="Measure the bundled proxy beside other implementations.",
        epilog="The tables show ratios ours / theirs within one round, as medians over the rounds.",
        allow_abbrev=False,
    )
    result.add_argument(
        "--against",
        action="append",
        metavar="PROFILE",
        help="compare with this implementation (default: dmcp)",
    )
    result.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds (default: 7)")
    result.add_argument("--json", type=Path, metavar="FILE", help="write every value of every round")
    result.add_argument("--svg", type=Path, metavar="FILE", help="write a chart of the ratios")
    result.add_argument(
        "--markdown", type=Path, metavar="FILE", help="replace the tables between the two marks of this page"
    )
    result.add_argument(
        "--from", type=Path, dest="source", metavar="JSON", help="show this earlier run and measure nothing"
    )
    result.add_argument(
        "--guard",
        type=Path,
        nargs="?",
        const=DOCUMENTED,
        metavar="JSON",
        help=f"only test whether something got much slower than in that run (default: {DOCUMENTED})",
    )
    names = ", ".join(workload.name for workload in WORKLOADS)
    result.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"one of {names} (default: all)")
    return result


def main(words: Sequence[str], workloads: Sequence[BenchWorkload] = WORKLOADS) -> int:
    """Run the command and return its exit status. Tests pass `workloads`."""
    try:
        options = parser().parse_args(words)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else USAGE
    console = Console(width=max(Console().width, tables.WIDTH))
    try:
        if options.guard is not None:
            return _guard(options, console, workloads)
        _prove_writable(options)
        report = _read(options.source) if options.source else _measured(options, workloads)
        for table in tables.terminal(report):
            console.print(table)
        for problem in report.problems:
            console.print(one_line(f"not measured: {problem}"), markup=False)
        if options.json:
            written = msgspec.json.format(msgspec.json.encode(report), indent=1)
            write(options.json, written.decode() + "\n")
        if options.svg:
            write(options.svg, chart.svg(report, report.others[0]))
        if options.markdown:
            tables.write_into(options.markdown, report)
    except (UsageError, HarnessError, OSError) as problem:
        print(one_line(f"conformance: {problem}"), file=sys.stderr)
        return USAGE if isinstance(problem, UsageError) else BROKEN
    return PASSED


def _prove_writable(options: argparse.Namespace) -> None:
    """Prove the output files writable before minutes of measuring. Raises `UsageError`."""
    for option, file in (("--json", options.json), ("--svg", options.svg)):
        if file is not None:
            prove_writable(file, f"{option} {file}")
    if options.markdown is not None:
        tables.split(options.markdown)
        prove_writable(options.markdown, f"--markdown {options.markdown}")


def _measured(options: argparse.Namespace, workloads: Sequence[BenchWorkload]) -> BenchReport:
    known = {workload.name: workload for workload in workloads}
    if unknown := set(options.workloads) - known.keys():
        raise UsageError(f"there is no workload {sorted(unknown)[0]!r}; there are {', '.join(known)}")
    if options.rounds < 1:
        raise UsageError("--rounds must be at least 1")
    chosen = [one for name, one in known.items() if not options.workloads or name in options.workloads]
    return measure(chosen, _ours(), _others(options), options.rounds, _progress())


def _guard(options: argparse.Namespace, console: Console, workloads: Sequence[BenchWorkload]) -> int:
    documented = _read(options.guard)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        other = _others(options)[0]
        version_of(other)
    except (UsageError, HarnessError) as problem:
        say(f"skipped, because there is nothing to compare with: {problem}")
        return PASSED
    return PASSED if guard(documented, _ours(), other, say, workloads) else SLOW


def _ours() -> ProxyTarget:
    return ProxyTarget(make_sut(()))


def _others(options: argparse.Namespace) -> list[ProxyTarget]:
    return [ProxyTarget(make_sut((), Profile.load(name))) for name in options.against or ["dmcp"]]


def _read(path: Path) -> BenchReport:
    try:
        return msgspec.json.decode(path.read_bytes(), type=BenchReport)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; `bench --json {path}` makes one") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is not the JSON of a run: {error}") from None


def _progress() -> Callable[[str], None]:
    """Prints progress to stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        return lambda line: None
    return lambda line: print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
