"""Shared by all commands that run checks: options, selection, the run itself and the exit status.

Exit status:

- 0: everything required passed
- 1: something failed, also if the run stopped early
- 2: the user has to change the command line, also if the run checked nothing
- 3: the harness broke
- 128 and the number of the signal: a signal interrupted the run, so 130 for Ctrl-C
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from conformance.engine.execution import SILENT_CHECKS
from conformance.engine.runner import DEFAULT_JOBS, run, with_selection
from conformance.engine.scheduler import interrupted_status
from conformance.errors import UsageError
from conformance.model.registry import Reach
from conformance.model.results import NO_ANSWER
from conformance.model.selectors import FAMILY_WORDS, select
from conformance.model.verdicts import Verdict
from conformance.reports.terminal import LiveProgress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from conformance.checks import Check
    from conformance.engine.execution import RunOptions
    from conformance.model.registry import Registry
    from conformance.model.results import RunReport
    from conformance.model.sut import Sut

PASSED, FAILED, USAGE, BROKEN = 0, 1, 2, 3

SELECTOR_HELP = "an id, a family, a level, an era, a reach, `slow`, `quick`, or a glob like CFG-01*"
FAMILY_HELP = "A selector may be a family in words: " + ", ".join(
    f"{word} ({family})" for word, family in FAMILY_WORDS.items()
)
REACH_HELP = (
    f"A reach is {Reach.PROXY} (about every MCP proxy), {Reach.SEVERAL_UPSTREAMS} (about proxies with several servers), or"
    f" {Reach.DYNAMIC_MCP} (about dynamic-mcp proxies alone)"
)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the checks and how they run."""
    parser.add_argument(
        "--only", action="append", default=[], metavar="SEL", help=f"only these: {SELECTOR_HELP}"
    )
    parser.add_argument("--skip", action="append", default=[], metavar="SEL", help="not these")
    parser.add_argument(
        "--jobs",
        type=_positive(int),
        default=DEFAULT_JOBS,
        metavar="N",
        help="quick checks at a time, and as many slow ones beside them",
    )
    parser.add_argument("--keep", action="store_true", help="keep the sandbox folder of every check")
    parser.add_argument("--strict", action="store_true", help="a missed SHOULD or MAY is a failure too")
    parser.add_argument(
        "--time-scale",
        type=_positive(float),
        default=1.0,
        metavar="X",
        help="multiply the deadline of every check by X",
    )
    parser.add_argument(
        "--no-early-stop",
        dest="early_stop",
        action="store_false",
        help=f"go on although {SILENT_CHECKS} checks are red and the program never answered anything",
    )


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError(text)
        return value

    # argparse shows this name in its message.
    convert.__name__ = f"positive {kind.__name__}"
    return convert


def selected_ids(
    only: Sequence[str], skip: Sequence[str], registry: Registry, checks: dict[str, Check]
) -> list[str]:
    """The ids that `select` selects, with the slow ones of these checks."""
    slow = [check.id for check in checks.values() if check.slow]
    return select(registry, only, skip, slow_ids=slow)


def ids_to_run(options: argparse.Namespace, registry: Registry, checks: dict[str, Check]) -> list[str]:
    """The selected ids, including those without a check. Raises `UsageError` if no id has a check."""
    selected = selected_ids(options.only, options.skip, registry, checks)
    if not any(id_ in checks for id_ in selected):
        raise UsageError(
            f"nothing to run: no check exists for the selection ({len(selected)} planned or retired)"
        )
    return [id_ for id_ in selected if registry[id_].retired is None]


def run_selected(
    sut: Sut,
    selected: Sequence[str],
    arguments: argparse.Namespace,
    options: RunOptions,
    checks: dict[str, Check],
    console: Console,
) -> RunReport:
    """Run the selected checks with the arguments of `add_run_options`, and show the progress.

    `options` has what these arguments do not say. The rerun lines get the arguments that change a verdict.
    """
    again = list(options.rerun_options)
    if 1.0 != arguments.time_scale < float("inf"):
        again += ["--time-scale", f"{arguments.time_scale:g}"]
    if arguments.strict:
        again.append("--strict")
    options = replace(
        options,
        time_scale=arguments.time_scale,
        keep=arguments.keep,
        early_stop=arguments.early_stop,
        rerun_options=again,
    )
    chosen = [checks[id_] for id_ in selected if id_ in checks]

    async def run_all() -> RunReport:
        with LiveProgress(console, len(chosen)) as progress:
            return await run(sut, chosen, options, jobs=arguments.jobs, on_event=progress)

    planned = [id_ for id_ in selected if id_ not in checks]
    return with_selection(anyio.run(run_all), planned=planned, strict=arguments.strict)


def exit_code(report: RunReport) -> int:
    """The exit status of a run; a run without an executed check never succeeds."""
    summary = report.summary
    stopped_early = report.stopped_by == NO_ANSWER
    if not report.complete and not stopped_early:
        # The report of an older runner names no signal.
        return interrupted_status(report.stopped_by) if report.stopped_by else BROKEN
    if any(result.verdict is Verdict.HARNESS_ERROR for result in report.results):
        return BROKEN
    if summary.failures or stopped_early:
        return FAILED
    if not summary.executed:
        print(
            "conformance: nothing to check: no selected requirement applies, and the report has the reasons",
            file=sys.stderr,
        )
        return USAGE
    return PASSED
