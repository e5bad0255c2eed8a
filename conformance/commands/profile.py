"""`python -m conformance profile -- COMMAND`: write a first profile of a program, from what it shows.

Exit status: 0 written, 2 the command does not work or the file exists, 3 the harness broke.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from conformance.commands.placeholders import URL, first_profile, kind_of, split
from conformance.commands.probing import Findings, find_out
from conformance.engine.execution import workbench_factory
from conformance.errors import UsageError
from conformance.model.client_table import ClientTable
from conformance.model.profile import DEFAULT_STARTS_WITHIN, DEFAULT_TOOLS, REVISIONS, Profile
from conformance.model.profile_tables import COMMAND, SHELL, SingleTable
from conformance.model.sut import PLACEHOLDER, make_sut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.engine.execution import WorkbenchFactory

#: how many times longer than the measured start the profile allows, because checks run beside each other
_SLOWER = 2.0


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="python -m conformance profile",
        usage="%(prog)s [options] -- COMMAND ARG ...",
        description="Start a proxy with small scripted servers, find out how it shows them, and write a first profile.",
        epilog=f"COMMAND contains {PLACEHOLDER} for a configuration file. A proxy that gets one server on its command line has"
        f" {COMMAND} (its words), {SHELL} (one text for a shell) or {URL} in that place.",
        allow_abbrev=False,
    )
    result.add_argument("--output", type=Path, metavar="FILE", help="write there, and not to stdout")
    result.add_argument("--name", metavar="NAME", help="the name in reports (default: that of the program)")
    result.add_argument(
        "--single",
        nargs="?",
        const="",
        choices=["", "command", "http", "sse"],
        help="one server on the command line; of which kind, if the command does not tell",
    )
    result.add_argument(
        "--upstreams",
        choices=["command", "http", "sse"],
        default="command",
        help="the kind of the servers in a configuration file (default: command)",
    )
    result.add_argument(
        "--url",
        default="",
        metavar="URL",
        help="where the proxy listens, such as http://127.0.0.1:{port}/mcp",
    )
    result.add_argument(
        "--transport", choices=["http", "sse"], default="http", help="how it listens there (default: http)"
    )
    return result


def main(words: Sequence[str], command: Sequence[str], open_workbench: WorkbenchFactory | None = None) -> int:
    """Run the command and return its exit status. Raises `UsageError` and `HarnessError`."""
    options = parser().parse_args(words)
    if not command:
        raise UsageError("there is no command: write it after --, for example: profile -- my-proxy {config}")
    if options.output is not None and options.output.exists():
        raise UsageError(f"--output: {options.output} exists already; remove it, or name another file")
    start, single = split(command, options.single)
    client = ClientTable(transport=options.transport, url=options.url) if options.url else ClientTable()
    if problem := client.problem():
        raise UsageError(f"--{problem}")
    profile = first_profile(single, 60.0, client)
    kind = options.upstreams if single is None else kind_of(single)
    sut = make_sut(start, profile)
    found = anyio.run(
        find_out,
        sut,
        kind,
        workbench_factory(open_workbench),
        lambda step: print(f"{step} ...", file=sys.stderr),
    )
    name = options.name or sut.name
    text = "\n".join(_lines(name, start, found, single, client)) + "\n"
    Profile.parse(text, name)  # what this command writes, `run` reads
    if options.output is None:
        print(text, end="")
    else:
        options.output.write_text(text, encoding="utf-8")
        print(
            f"profile {options.output}: python -m conformance run --profile {options.output}", file=sys.stderr
        )
    return 0


def _lines(
    name: str, command: Sequence[str], found: Findings, single: SingleTable | None, client: ClientTable
) -> Iterator[str]:
    """The profile as TOML."""
    yield f"# The first answer took {found.first_answer:.1f} s. It declares: {', '.join(sorted(found.capabilities)) or 'nothing'}."
    for remark in found.remarks:
        yield f"# Look at this: {remark}"
    yield f"name = {_toml(name)}"
    yield f"command = {_toml(list(command))}"
    allowed = max(DEFAULT_STARTS_WITHIN, math.ceil(found.first_answer * _SLOWER))
    if allowed > DEFAULT_STARTS_WITHIN:
        yield f"starts_within = {allowed}"
    yield f"face = {_toml(found.face)}"
    for member, pattern in found.names.items():
        yield f"{member} = {_toml(pattern)}"
    if found.revisions:
        yield f"revisions = {_toml([one for one in REVISIONS if one in found.revisions])}"
    if found.tools and found.tools != dict(DEFAULT_TOOLS):
        yield from ("", "[tools]", *(f"{role} = {_toml(tool)}" for role, tool in found.tools.items()))
    if single is not None:
        kind = kind_of(single)
        yield from ("", "[single]", f"{kind} = {_toml(list(getattr(single, kind)))}")
        yield "# Without these lines, the checks of headers, variables and OAuth clients are n/a."
        yield '# header = ["--header", "{name}: {value}"]'
        if kind == "command":
            yield '# env = ["--env", "{name}={value}"]'
        else:
            yield '# client = ["--client-id", "{client_id}"]'
            yield '# oauth = ["--oauth"]'
    elif found.variables is False:
        yield from ("", "[config]", "variables = false")
        yield "# If it does not apply a changed file: reload = false"
    if client.listens:
        yield from ("", "[client]", f"transport = {_toml(client.transport)}", f"url = {_toml(client.url)}")


def _toml(value: object) -> str:
    """A text or a list of texts; JSON without its escapes for other characters is TOML."""
    return json.dumps(value, ensure_ascii=False)
