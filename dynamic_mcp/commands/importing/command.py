"""``dynamic-mcp import TOOL``: the dialog with the user, and the written file.

The command shows what each server would run, and asks for a description of each group, which is what an agent reads. It starts a server
only if the user agrees or requests it (``--start``), because the file of a project can come from a stranger. It then proposes the server's
own description. It writes the file at the end, and replaces an existing file only with the user's consent. The file is private (0600),
because configurations contain secrets. Exit status: 0 written, 1 nothing written, 2 usage error.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dynamic_mcp import atomic_write
from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.check import server_report, tool_lines
from dynamic_mcp.commands.importing.client_snippet import instructions
from dynamic_mcp.commands.importing.entries import Imported, convert
from dynamic_mcp.commands.importing.file_switches import FileSwitches
from dynamic_mcp.commands.importing.references import References
from dynamic_mcp.commands.importing.sources import SourceContent, find, read_sources
from dynamic_mcp.commands.importing.tools import KNOWN_TOOLS, TOOLS_BY_NAME, Locations, Tool
from dynamic_mcp.commands.terminal import ask, fail, say
from dynamic_mcp.config.load import parse
from dynamic_mcp.config.model import Features, StdioTransport
from dynamic_mcp.errors import ConfigError

DEFAULT_OUTPUT = Path("dynamic-mcp.json")
_MAX_DESCRIPTION = 200
#: Characters of a command line in the output.
_MAX_SHOWN = 1000


def parser() -> Parser:
    """The argument parser of the command."""
    result = Parser(
        prog="dynamic-mcp import",
        description="Write a configuration of this proxy with the servers of an AI tool. The tool's own file does not change.",
        epilog="Tools: " + "; ".join(f"{tool.name} ({tool.title})" for tool in KNOWN_TOOLS),
        allow_abbrev=False,
    )
    result.add_argument("tool", metavar="TOOL", choices=sorted(TOOLS_BY_NAME), help="the AI tool; see below")
    result.add_argument(
        "-g", "--global", dest="is_global", action="store_true", help="use the user-level file"
    )
    result.add_argument("-f", "--force", action="store_true", help="replace an existing output file")
    result.add_argument(
        "-o", "--output", type=Path, default=DEFAULT_OUTPUT, metavar="FILE", help=f"default: {DEFAULT_OUTPUT}"
    )
    result.add_argument(
        "-y", "--yes", action="store_true", help="ask no questions, accept all proposals, and start no server"
    )
    starts = result.add_mutually_exclusive_group()
    starts.add_argument("--start", action="store_true", help="start each server once to get its description")
    starts.add_argument("--offline", action="store_true", help="start no server, and do not ask")
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    command_line = parser()
    options = command_line.parse_args(words)
    tool = TOOLS_BY_NAME[options.tool]
    if not options.yes and not sys.stdin.isatty():
        command_line.error("there is no terminal to ask questions at; add --yes")
    try:
        return _import(tool, options)
    except ConfigError as error:
        fail(*error.lines)
    except (EOFError, KeyboardInterrupt):
        say("", "Nothing was written.")
        return 1


def _import(tool: Tool, options: argparse.Namespace) -> int:
    locations = Locations(Path.cwd(), Path.home())
    sources = find(tool, locations, is_global=options.is_global).relative_to(locations.project)
    found = read_sources(tool, sources, locations)
    servers_found = import_servers(tool, found, locations)
    output: Path = options.output
    *others, source = sources.files
    names = ", ".join(map(str, sources.files))
    say(f"{tool.title}: {len(servers_found)} server{'s' * (len(servers_found) != 1)} in {names}")
    say(*(f"  {note}" for note in found.notes))
    say(*(f"  {file} was not read; {tool.title} may read it in place of {source}" for file in sources.unread))
    for imported in servers_found:
        for line in _shown(imported):
            say(line)
    usable = [imported for imported in servers_found if imported.entry is not None]
    if not usable:
        say("There is nothing to write.")
        return 1
    if output.exists() and not output.is_file():
        fail(f"{output}: is {'a directory' if output.is_dir() else 'no file'}; name a file with --output")
    if (
        output.exists()
        and not options.force
        and (options.yes or not _agrees(f"Replace {output}?", default=False))
    ):
        say(
            f"{output} exists and was not changed; replace it with --force, or name another file with --output."
        )
        return 1
    is_complete = _describe(usable, options)
    content = {"mcpServers": {imported.name: imported.entry for imported in usable}}
    try:
        # A link stays, and the file to which it leads is replaced.
        place = Path(os.path.realpath(output))
        atomic_write.replace(place, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        say(f"{output}: cannot be written: {error.strerror or error}")
        return 1
    say("", f"Wrote {len(usable)} server{'s' * (len(usable) != 1)} to {output}.")
    say("Agents choose a group by its description, so improve those that say too little.")
    if not is_complete:
        say("No server was started; --start starts each once to get its description.")
    say("", "Check whether they work:", f"  dynamic-mcp check {shlex.quote(str(output))} --connect")
    say(*instructions(dataclasses.replace(tool, keys=found.keys), source, output))
    if others:
        say(
            f"Remove the servers from {', '.join(map(str, others))} too, because {tool.title} merges these files."
        )
    return 0


def _shown(imported: Imported) -> Iterator[str]:
    """The lines about one server: what it would run, and the notes about its conversion."""
    switch = " (left out)" if imported.entry is None else "" if imported.is_on else " (switched off)"
    yield f"  {imported.name}{switch}"
    if imported.entry is not None:
        (server,) = parse(_configuration([imported], enabled=True), "", {}).servers
        report, transport = server_report(server), server.transport
        runs = report.runs
        if isinstance(transport, StdioTransport):
            # The whole command: the user decides by it, and a program in the text of an argument has many lines.
            runs = shlex.join((*transport.prefix, transport.command, *transport.args))
        yield f"    {report.transport}  {_cut(runs)}"
        for what, names in (("env", report.env), ("headers", report.headers)):
            if names:
                yield f"    {what}  {_cut(', '.join(names))}"
        yield from (f"    {_cut(line)}" for line in tool_lines(report))
    yield from (f"    {note}" for note in imported.notes)


def _cut(text: str) -> str:
    rest = len(text) - _MAX_SHOWN
    return text if rest <= 0 else f"{text[:_MAX_SHOWN]} ... ({rest} more characters)"


def _configuration(servers: Iterable[Imported], **changed: Any) -> bytes:
    """The text of a configuration with these servers, without descriptions."""
    entries = {
        imported.name: {"description": "", **(imported.entry or {}), **changed} for imported in servers
    }
    return json.dumps({"mcpServers": entries}).encode()


def import_servers(tool: Tool, found: SourceContent, locations: Locations) -> list[Imported]:
    """The servers of the files, converted. Raises ConfigError."""
    switches = FileSwitches(tool, found.values, locations)
    result = []
    for name, source in found.servers.items():
        imported = convert(
            name,
            source.entry,
            lambda note: References(tool.references, locations.project, locations.home, note),
            tool.timeout_unit,
        )
        imported.notes += source.notes
        switches.apply(imported)
        _check(imported)
        result.append(imported)
    return result


def _check(imported: Imported) -> None:
    """Leave out an invalid entry, so that it does not make the whole configuration invalid."""
    if imported.entry is None:
        return
    try:
        parse(_configuration([imported], enabled=True), "", {})
    except ConfigError as error:
        imported.notes += [
            f"cannot be used: {mistake.problem}; it was left out" for mistake in error.mistakes
        ]
        imported.entry = None


# Descriptions and features


def _describe(usable: list[Imported], options: argparse.Namespace) -> bool:
    """Give each server a description. False if a server that was not started could have given its own."""
    proposals = {imported.name: imported.description for imported in usable}
    unknown = [imported for imported in usable if not imported.description and imported.is_on]
    names = ", ".join(imported.name for imported in unknown)
    starts = bool(unknown) and options.start
    if unknown and not (options.start or options.yes or options.offline):
        question = f"Start {names} as shown above, to see how they describe themselves?"
        starts = _agrees(question, default=False)
    if starts:
        proposals |= _own_descriptions(unknown)
    for imported in usable:
        description = shorten(proposals[imported.name]) or f"Tools of {imported.name}"
        features: dict[str, bool] = {}
        if not options.yes:
            say("")
            description = ask(f"{imported.name}: description [{description}]: ") or description
            if not _agrees(f"{imported.name}: use its tools, resources and prompts?"):
                features = {
                    feature: False
                    for feature in Features.__struct_fields__
                    if not _agrees(f"{imported.name}: use its {feature}?", default=feature == "tools")
                }
        imported.entry = {
            "description": description,
            **(imported.entry or {}),
            **({"features": features} if features else {}),
        }
    return starts or not unknown


def _own_descriptions(unknown: list[Imported]) -> dict[str, str]:
    """The servers' own descriptions by name, without those of servers that do not start."""
    import asyncio

    from dynamic_mcp.commands.probe import ProbeResult, probe_server
    from dynamic_mcp.config.model import Server
    from dynamic_mcp.groups import listing
    from dynamic_mcp.process.guard import Guard

    config = parse(_configuration(unknown), "", os.environ)

    async def probe_all() -> list[ProbeResult]:
        guard = Guard()
        done = itertools.count(1)

        async def probe(server: Server) -> ProbeResult:
            result = await probe_server(server, guard, kinds=(listing.TOOLS,))
            outcome = f"{server.name}: {result.failure or 'started'}"
            say(f"  [{next(done)}/{len(config.servers)}] {outcome}")
            return result

        try:
            return await asyncio.gather(*map(probe, config.servers))
        finally:
            await guard.close()

    return {
        server.name: result.instructions or summarize(result.title, result.listings.get(listing.TOOLS, {}))
        for server, result in zip(config.servers, asyncio.run(probe_all()), strict=True)
        if not result.failure
    }


def summarize(title: str, tools: Iterable[str]) -> str:
    """A description from the name of a server and its tools."""
    return " with ".join(filter(None, (title, ", ".join(tools))))


def shorten(text: str) -> str:
    """The first sentence or line of a text, bounded, because it is always in the context of the agent."""
    line = next((line.strip(" #*") for line in text.splitlines() if line.strip(" #*")), "")
    line = "".join(letter if letter.isprintable() else " " for letter in line)
    sentence = re.split(r"(?<=[.!?])\s", line)[0]
    if len(sentence) <= _MAX_DESCRIPTION:
        return sentence
    return sentence[:_MAX_DESCRIPTION].rsplit(" ", 1)[0] + " ..."


def _agrees(question: str, *, default: bool = True) -> bool:
    while True:
        answer = ask(f"{question} [{'Y/n' if default else 'y/N'}]: ").lower()
        if not answer:
            return default
        if answer in ("y", "yes", "n", "no"):
            return answer[0] == "y"
        say("Please answer y or n.")
