"""The command line: `python -m conformance run|list|show|smoke|profile|compare|bench|requirements|mutants|stability`.

Everything after `--` is the command of the implementation, word for word; no shell sees it. For the exit status see
`conformance.commands.run_options`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from rich.console import Console

from conformance.checks import Check
from conformance.checks.loading import load_checks
from conformance.commands.placeholders import first_profile, split
from conformance.commands.rebaseline import BaselineFile
from conformance.commands.run_options import (
    BROKEN,
    FAILED,
    FAMILY_HELP,
    PASSED,
    REACH_HELP,
    SELECTOR_HELP,
    USAGE,
    add_run_options,
    exit_code,
    ids_to_run,
    run_selected,
    selected_ids,
)
from conformance.commands.smoke import smoke
from conformance.engine.execution import RunOptions, WorkbenchFactory, workbench_factory
from conformance.engine.scheduler import interrupted_status
from conformance.errors import HarnessError, UsageError
from conformance.model.baseline import Baseline
from conformance.model.profile import Profile
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN, read_baseline
from conformance.model.registry import Registry, Requirement
from conformance.model.selectors import select
from conformance.model.sut import Sut, make_sut
from conformance.reports.formats import FORMATS, ReportFile
from conformance.reports.json import read
from conformance.reports.terminal import RunConsole, plain, print_report
from conformance.reports.text import lines

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(
    argv: Sequence[str] | None = None,
    *,
    checks: dict[str, Check] | None = None,
    open_workbench: WorkbenchFactory | None = None,
) -> int:
    """Run one command and return its exit status. Tests pass `checks` and `open_workbench`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:
        from conformance.commands.completion import answer

        answer(_parser())
    if words[:1] == ["bench"]:
        from conformance.bench.run import main as bench

        return bench(words[1:])
    if words[:1] == ["requirements"]:
        from conformance.commands.requirements_page import main as requirements

        return requirements(words[1:])
    try:
        if words[:1] == ["mutants"]:
            from conformance.mutation.run import main as mutants

            return mutants(words[1:])
        before, command = _split(words)
        if before[:1] == ["stability"]:
            from conformance.commands.stability import main as stability

            return stability(before[1:], command, checks=checks, open_workbench=open_workbench)
        if before[:1] == ["profile"]:
            from conformance.commands.profile import main as write_profile

            return write_profile(before[1:], command, open_workbench)
        known_checks = load_checks() if checks is None else checks
        if words[:1] == ["compare"]:
            from conformance.commands.compare import main as compare

            return compare(words[1:], checks=known_checks, open_workbench=open_workbench)
        return _dispatch(_parser().parse_args(before), command, known_checks, open_workbench)
    except SystemExit as exit_:  # argparse has printed the reason
        return exit_.code if isinstance(exit_.code, int) else USAGE
    except UsageError as error:
        print(lines(f"conformance: {error}"), file=sys.stderr)
        return USAGE
    except HarnessError as error:
        print(lines(f"conformance: the harness is broken: {error}"), file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:  # outside of a run, which ends by itself
        return interrupted_status("SIGINT")
    except BrokenPipeError:
        raise
    except Exception:
        # Python's own exit status for an exception is 1, which would blame the implementation.
        print(lines(traceback.format_exc()), file=sys.stderr)
        return BROKEN


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in words:
        return words, []
    at = words.index("--")
    if at + 1 == len(words):
        # The default, the bundled proxy, would not be what the user means.
        raise UsageError("there is no command after --")
    return words[:at], words[at + 1 :]


def _dispatch(
    options: argparse.Namespace,
    command: list[str],
    checks: dict[str, Check],
    open_workbench: WorkbenchFactory | None,
) -> int:
    registry = Registry.load()
    match options.verb:
        case "list":
            return _list(options, registry, checks)
        case "show":
            return _show(options, registry, checks)
        case "smoke":
            return _smoke(_smoke_sut(options, command), open_workbench)
        case _:
            return _run(options, command, registry, checks, open_workbench)


def _run(
    options: argparse.Namespace,
    command: list[str],
    registry: Registry,
    checks: dict[str, Check],
    open_workbench: WorkbenchFactory | None,
) -> int:
    options.only += options.selectors
    selected = ids_to_run(options, registry, checks)
    if options.rerun_failed:
        failed = read(options.rerun_failed).unproved
        selected = [id_ for id_ in selected if id_ in failed]
        if not selected:
            raise UsageError(f"nothing to run: of the selection, nothing failed in {options.rerun_failed}")
    sut = make_sut(command, _profile(options))
    if options.attach:
        count = sum(id_ in checks for id_ in selected)
        if count != 1:
            raise UsageError(f"--attach is for one check at a time, but {count} are selected")
        from conformance.commands.attach import Attaching

        options.time_scale = float("inf")
        open_workbench = Attaching(lambda text: print(lines(text), flush=True))
    baseline = read_baseline(options.baseline) if options.baseline else Baseline(sut.profile.known)
    new_baseline = _new_baseline(options)
    files = [ReportFile(request, FORMATS) for request in options.report]
    # A live line would overwrite what the person at the debugger reads.
    console = RunConsole(highlight=False, force_terminal=False if options.attach else None)
    run_options = RunOptions(
        baseline=baseline,
        open_workbench=open_workbench,
        second_attempts=not options.attach,
        rerun_options=["--baseline", str(options.baseline)] if options.baseline else [],
    )
    report = run_selected(sut, selected, options, run_options, checks, console)
    print_report(console, report)
    for file in files:
        file.write(report)
    if new_baseline is not None:
        print(f"baseline {new_baseline.write(report, baseline)}")
    return exit_code(report)


def _profile(options: argparse.Namespace) -> Profile | None:
    return Profile.load(options.profile) if options.profile else None


def _new_baseline(options: argparse.Namespace) -> BaselineFile | None:
    if options.update_baseline and not options.baseline:
        raise UsageError("--update-baseline: name the file with --baseline FILE")
    if options.write_baseline:
        return BaselineFile(options.write_baseline, new=True)
    return BaselineFile(options.baseline, new=False) if options.update_baseline else None


def _list(options: argparse.Namespace, registry: Registry, checks: dict[str, Check]) -> int:
    for requirement_id in selected_ids(options.selectors, [], registry, checks):
        requirement = registry[requirement_id]
        print(
            f"{requirement.id:<10}{requirement.level:<8}{requirement.era:<8}{requirement.reach:<19}"
            f"{_state(requirement):<9}{requirement.title}"
        )
    return PASSED


def _state(requirement: Requirement) -> str:
    if requirement.retired is not None:
        return "retired"
    return "planned" if requirement.planned else "checked"


def _show(options: argparse.Namespace, registry: Registry, checks: dict[str, Check]) -> int:
    requirement = registry.get(options.id.upper())
    if requirement is None:
        # `select` raises with the nearest ids. What it accepts is a family or a level, which `show` cannot show.
        select(registry, [options.id])
        raise UsageError(f"{options.id} is not the id of one requirement; see `list {options.id}`")
    from conformance.commands.show import show

    show(Console(highlight=False), registry, requirement, checks.get(requirement.id), options.profile)
    return PASSED


def _smoke_sut(options: argparse.Namespace, command: list[str]) -> Sut:
    """The system under test; without a profile, the command itself can say where its one upstream goes."""
    profile = _profile(options)
    start, single = split(command, None) if profile is None else (command, None)
    return make_sut(start, profile if single is None else first_profile(single, DEFAULT_STARTS_WITHIN))


def _smoke(sut: Sut, open_workbench: WorkbenchFactory | None) -> int:
    factory = workbench_factory(open_workbench)
    console = Console(highlight=False)

    async def walk() -> int:
        result = await smoke(
            sut, open_workbench=factory, on_step=lambda step: console.print(plain(f"ok    {step}"))
        )
        if result.failed is not None:
            console.print(plain(f"wrong {result.failed}: {result.reason}"), soft_wrap=True)
            if result.stderr.strip():
                console.print(plain(f"stderr of the command:\n{result.stderr.rstrip()}"), soft_wrap=True)
        console.print(plain(result.advice), soft_wrap=True)
        if result.harness_broke:
            return BROKEN
        return PASSED if result.failed is None else FAILED

    console.print(plain(f"command: {' '.join(sut.command)}"), soft_wrap=True)
    return anyio.run(walk)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description="Check an MCP proxy against the requirements, by its command line alone.",
        epilog="Everything after -- is the command; {config} stands for the configuration file.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(
        dest="verb",
        required=True,
        metavar="run|list|show|smoke|profile|compare|bench|requirements|mutants|stability",
    )

    run_ = verbs.add_parser(
        "run",
        help="run checks",
        usage="%(prog)s [options] [SEL ...] [-- COMMAND ARG ... {config}]",
        epilog=f"{FAMILY_HELP}. {REACH_HELP}.",
    )
    run_.add_argument("selectors", nargs="*", metavar="SEL", help="the same as --only SEL")
    add_run_options(run_)
    run_.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FORMAT=PATH",
        help=f"write a report; FORMAT: {', '.join(FORMATS)}",
    )
    run_.add_argument(
        "--baseline", type=Path, metavar="FILE", help="known failures, instead of the profile's"
    )
    change = run_.add_mutually_exclusive_group()
    change.add_argument(
        "--write-baseline",
        type=Path,
        metavar="FILE",
        help="write the failures into a new file; you add the reasons",
    )
    change.add_argument(
        "--update-baseline", action="store_true", help="update the file of --baseline from this run"
    )
    run_.add_argument(
        "--rerun-failed",
        type=Path,
        metavar="REPORT.json",
        help="only the checks that failed, warned or did not run in that report",
    )
    run_.add_argument(
        "--attach",
        action="store_true",
        help="for one check: show each start of the command and wait for a debugger, without deadlines",
    )

    list_ = verbs.add_parser("list", help="list requirements", epilog=f"{FAMILY_HELP}. {REACH_HELP}.")
    list_.add_argument("selectors", nargs="*", metavar="SEL", help=SELECTOR_HELP)

    show = verbs.add_parser("show", help="show everything about one requirement")
    show.add_argument("id", metavar="ID")
    show.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="also show what this profile knows, beside the bundled ones",
    )

    verbs.add_parser("profile", help="write a first profile of a proxy; see `profile --help`")
    verbs.add_parser("compare", help="run several implementations side by side; see `compare --help`")
    verbs.add_parser("bench", help="measure the bundled proxy beside others; see `bench --help`")
    verbs.add_parser("requirements", help="write all requirements as a page; see `requirements --help`")
    verbs.add_parser("mutants", help="test the checks with known-bad proxies; see `mutants --help`")
    verbs.add_parser(
        "stability", help="make whole runs in a row without one red check; see `stability --help`"
    )
    smoke_ = verbs.add_parser(
        "smoke",
        help="try whether the command works at all",
        usage="%(prog)s [options] [-- COMMAND ARG ... {config}|{url}|{command}|{shell}]",
    )
    for verb in (run_, smoke_):
        verb.add_argument(
            "--profile",
            metavar="NAME|FILE",
            help="what the runner knows about the implementation beforehand (default: nothing; without a command, `reference`)",
        )
    return parser
