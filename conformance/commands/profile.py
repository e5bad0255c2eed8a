"""`python -m conformance profile -- COMMAND`: write a first profile of a program, from what it shows.

Exit status: 0 written, 2 the command does not work or the file exists, 3 the harness broke.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from msgspec import structs

from conformance.commands.draft import TABLES, Draft
from conformance.commands.placeholders import first_profile, kind_of, split
from conformance.commands.probing import Findings, find_out
from conformance.commands.probing_kinds import find_kinds
from conformance.commands.probing_members import find_members
from conformance.commands.profile_text import SLOWER, entries_of, profile_text
from conformance.engine.execution import workbench_factory
from conformance.errors import UsageError
from conformance.model.client_table import ClientTable
from conformance.model.profile import Profile
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN
from conformance.model.profile_tables import COMMAND, SHELL, URL
from conformance.model.sut import PLACEHOLDER, make_sut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.commands.probing_kinds import KindFound
    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.sut import Sut


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
    result.add_argument(
        "--draft", type=Path, metavar="FILE", help=f"a profile with what you know: {', '.join(TABLES)}"
    )
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
    if options.output is not None:
        _must_be_writable(options.output)
    start, single = split(command, options.single)
    draft = Draft() if options.draft is None else Draft.read(options.draft)
    client = draft.profile.client
    if options.url:
        if draft.table("client"):
            raise UsageError("--url: the draft has [client] already; give one of the two")
        client = ClientTable(transport=options.transport, url=options.url)
    if problem := client.problem():
        raise UsageError(f"--{problem}")
    profile = first_profile(single, 60.0, client)
    if draft.tables:
        if single is not None and draft.table("config"):
            raise UsageError("--draft: [config] is about a configuration file, and the command has none")
        config = profile.config if single is not None else draft.profile.config
        profile = structs.replace(draft.profile, **_first(profile), config=config)
    # A check takes a missing answer for one about the upstream, if the program has one and has tried it. Here it is the error.
    profile = structs.replace(profile, upstreams="several")
    kind = options.upstreams if single is None else kind_of(single)
    sut = make_sut(start, profile)
    name = options.name or sut.name
    # What no profile can have is an error before the program starts.
    _must_be_text(name, command)
    Profile.parse(profile_text(name, start, Findings(face="flat"), single, client, draft=draft), name)
    found, kinds = anyio.run(_probe, sut, kind, workbench_factory(open_workbench))
    text = profile_text(name, start, found, single, client, kinds, draft)
    Profile.parse(text, name)  # what this command writes, `run` reads
    if options.output is None:
        print(text, end="")
    else:
        try:
            options.output.write_text(text, encoding="utf-8")
        except OSError as error:
            print(text, end="")  # the probing has taken its time
            raise UsageError(
                f"--output: {options.output}: {error.strerror or error}; the profile is on stdout"
            ) from error
        print(
            f"profile {options.output}: python -m conformance run --profile {options.output}", file=sys.stderr
        )
    return 0


def _first(profile: Profile) -> dict[str, Any]:
    """What every first profile supposes, for any draft."""
    members = ("name", "absent", "starts_within", "face", "single", "client")
    return {member: getattr(profile, member) for member in members}


async def _probe(sut: Sut, kind: str, factory: WorkbenchFactory) -> tuple[Findings, list[KindFound]]:
    def tell(step: str) -> None:
        print(f"{step} ...", file=sys.stderr)

    found = await find_out(sut, kind, factory, tell)
    kinds = await find_kinds(sut, kind, found, factory, tell)
    usable = [kind, *(one.kind for one in kinds if one.is_used)]
    entries = {**sut.profile.entries, **entries_of(kinds)}
    starts = max(DEFAULT_STARTS_WITHIN, SLOWER * found.first_answer)
    profile = structs.replace(sut.profile, entries=entries, starts_within=starts)
    found.lacks = await find_members(replace(sut, profile=profile), usable, found, factory, tell)
    return found, kinds


def _must_be_writable(file: Path) -> None:
    """Raise `UsageError` for a file that the command cannot make, before the probing takes its time."""
    if os.path.lexists(file):
        raise UsageError(f"--output: {file} exists already; remove it, or name another file")
    folder = file.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--output: there is no folder {folder}; make it, or name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--output: the folder {folder} cannot be written to; name another file")


def _must_be_text(name: str, command: Sequence[str]) -> None:
    """Raise `UsageError` for words that are no text, because TOML has only text."""
    for word in (name, *command):
        try:
            word.encode()
        except UnicodeEncodeError as problem:
            raise UsageError(
                f"{word!r} is not UTF-8, so no profile can have it; write the command into a script"
            ) from problem
