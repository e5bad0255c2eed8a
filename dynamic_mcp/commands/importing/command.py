"""``dynamic-mcp import TOOL``: the conversation with the user, and the written file.

What an agent reads about a group is its description, so it is asked for, with what the server says of itself as the proposal. Nothing
is written before everything is known, an existing file is only replaced when the user says so, and the file is private (0600), because
configurations hold secrets. Exit status: 0 written, 1 nothing written, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dynamic_mcp import atomic_write
from dynamic_mcp.commands.importing.client_snippet import instructions
from dynamic_mcp.commands.importing.entries import Imported, convert
from dynamic_mcp.commands.importing.read import read, servers
from dynamic_mcp.commands.importing.references import References
from dynamic_mcp.commands.importing.tools import NAMES, TOOLS, Place, Tool
from dynamic_mcp.commands.terminal import fail, say
from dynamic_mcp.config.load import parse
from dynamic_mcp.config.model import Features
from dynamic_mcp.errors import ConfigError

DEFAULT_OUTPUT = Path("dynamic-mcp.json")
_MAX_DESCRIPTION = 200


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="dynamic-mcp import",
        description="Write a configuration of this proxy with the servers of an AI tool. The tool's own file stays as it is.",
        epilog="Tools: " + "; ".join(f"{tool.name} ({tool.title})" for tool in TOOLS),
        allow_abbrev=False,
    )
    result.add_argument("tool", metavar="TOOL", choices=sorted(NAMES), help="whose servers; see below")
    result.add_argument(
        "-g", "--global", dest="of_user", action="store_true", help="the user's, not this folder's"
    )
    result.add_argument("-f", "--force", action="store_true", help="replace an existing output file")
    result.add_argument(
        "-o", "--output", type=Path, default=DEFAULT_OUTPUT, metavar="FILE", help=f"default: {DEFAULT_OUTPUT}"
    )
    result.add_argument(
        "-y", "--yes", action="store_true", help="ask nothing: proposals are taken as they are"
    )
    result.add_argument(
        "--offline", action="store_true", help="start no server to see how it describes itself"
    )
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    command_line = parser()
    given = command_line.parse_args(words)
    tool = NAMES[given.tool]
    if not given.yes and not sys.stdin.isatty():
        command_line.error("there is no terminal to ask questions at; add --yes")
    try:
        return _import(tool, given)
    except ConfigError as error:
        fail(str(error))
    except (EOFError, KeyboardInterrupt):
        say("\nNothing was written.")
        return 1


def _import(tool: Tool, given: argparse.Namespace) -> int:
    place = Place(Path.cwd(), Path.home())
    source = _nearby(find(tool, place, of_user=given.of_user))
    found = imported(tool, source, place)
    output: Path = given.output
    say(f"{tool.title}: {len(found)} server{'s' * (len(found) != 1)} in {source}")
    for one in found:
        say(f"  {one.name}{' (left out)' if one.entry is None else '' if one.is_on else ' (switched off)'}")
        for note in one.notes:
            say(f"    {note}")
    kept = [one for one in found if one.entry is not None]
    if not kept:
        say("There is nothing to write.")
        return 1
    if output.is_dir():
        fail(f"{output}: is a directory; name a file with --output")
    if (
        output.exists()
        and not given.force
        and (given.yes or not _agrees(f"Replace {output}?", default=False))
    ):
        say(
            f"{output} exists and was left as it is; replace it with --force, or name another file with --output."
        )
        return 1
    _describe(kept, given)
    content = {"mcpServers": {one.name: one.entry for one in kept}}
    try:
        atomic_write.replace(output, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        say(f"{output}: cannot be written: {error.strerror or error}")
        return 1
    say(f"\nWrote {len(kept)} server{'s' * (len(kept) != 1)} to {output}.")
    say("An agent goes by the descriptions in it: change those that say too little.\n")
    say(f"See whether they work:\n  dynamic-mcp check {shlex.quote(str(output))} --connect")
    for line in instructions(tool, source, output):
        say(line)
    return 0


def _nearby(path: Path) -> Path:
    """The path as people would write it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def find(tool: Tool, place: Place, *, of_user: bool) -> Path:
    """The tool's file: of this folder or of the user, for a tool that has only one kind that one. Raises ConfigError that says
    where it was looked for.
    """
    of_user = of_user if tool.global_files and tool.project_files else bool(tool.global_files)
    candidates = tool.files(place, of_user=of_user)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    what = f"there is no configuration of {tool.title}; looked for {', '.join(map(str, candidates))}"
    for other in tool.files(place, of_user=not of_user):
        if other.exists():
            what += f"; {'without' if of_user else 'with'} --global it is {other}"
    raise ConfigError(what)


def imported(tool: Tool, source: Path, place: Place) -> list[Imported]:
    """The servers of a file, converted. Raises ConfigError."""
    values = read(source)
    entries = servers(values, tool.keys, source)
    if tool.name == "claude":
        # What was added for one folder only lies in the user's file, below that folder.
        local = values.get("projects", {})
        of_folder = local.get(str(place.project), {}) if isinstance(local, dict) else {}
        if isinstance(of_folder, dict):
            entries = {**entries, **servers(of_folder, tool.keys, source)}
    result = []
    for name, entry in entries.items():
        one = convert(
            name,
            entry,
            lambda note: References(tool.references, place.project, place.home, note),
            tool.timeout_unit,
        )
        _check(one)
        result.append(one)
    return result


def _check(one: Imported) -> None:
    """Leave out what the proxy would refuse, so that one bad entry does not cost the others."""
    if one.entry is None:
        return
    text = json.dumps({"mcpServers": {one.name: {"description": "", **one.entry}}})
    try:
        parse(text.encode(), "", {})
    except ConfigError as error:
        one.notes.append(f"cannot be used: {str(error).removeprefix(': ')}; it was left out")
        one.entry = None


# Descriptions and features


def _describe(kept: list[Imported], given: argparse.Namespace) -> None:
    proposals = {one.name: one.description for one in kept}
    unknown = [one for one in kept if not one.description and one.is_on]
    if (
        unknown
        and not given.offline
        and (given.yes or _agrees("Start the servers to see how they describe themselves?"))
    ):
        proposals |= _own_descriptions(unknown)
    for one in kept:
        description = shortened(proposals[one.name]) or f"Tools of {one.name}"
        features: dict[str, bool] = {}
        if not given.yes:
            say("")
            description = input(f"{one.name}: description [{description}]: ").strip() or description
            if not _agrees(f"{one.name}: use its tools, resources and prompts?"):
                features = {
                    feature: False
                    for feature in Features.__struct_fields__
                    if not _agrees(f"{one.name}: use its {feature}?", default=feature == "tools")
                }
        one.entry = {
            "description": description,
            **(one.entry or {}),
            **({"features": features} if features else {}),
        }


def _own_descriptions(unknown: list[Imported]) -> dict[str, str]:
    """What the servers say of themselves, by name; nothing of those that cannot be started."""
    import asyncio

    from dynamic_mcp.commands.probe import ProbeResult, look
    from dynamic_mcp.config.model import Server
    from dynamic_mcp.groups import listing
    from dynamic_mcp.process.guard import Guard

    text = json.dumps({"mcpServers": {one.name: {"description": "", **(one.entry or {})} for one in unknown}})
    config = parse(text.encode(), "", os.environ)

    async def look_at_all() -> list[ProbeResult]:
        guard = Guard()
        done = itertools.count(1)

        async def one(server: Server) -> ProbeResult:
            seen = await look(server, guard, kinds=(listing.TOOLS,))
            say(f"  [{next(done)}/{len(config.servers)}] {server.name}: {seen.failure or 'started'}")
            return seen

        try:
            return await asyncio.gather(*map(one, config.servers))
        finally:
            await guard.close()

    seen = asyncio.run(look_at_all())
    return {
        server.name: one.instructions or in_short(one.title, one.listings.get(listing.TOOLS, {}))
        for server, one in zip(config.servers, seen, strict=True)
        if not one.failure
    }


def in_short(title: str, tools: Iterable[str]) -> str:
    """A description of a server that has none: what it calls itself, and its tools."""
    return " with ".join(filter(None, (title, ", ".join(tools))))


def shortened(text: str) -> str:
    """The first sentence or line of a text, bounded: it is in the context of the agent all the time."""
    line = next((line.strip(" #*") for line in text.splitlines() if line.strip(" #*")), "")
    line = "".join(letter if letter.isprintable() else " " for letter in line)
    sentence = re.split(r"(?<=[.!?])\s", line)[0]
    if len(sentence) <= _MAX_DESCRIPTION:
        return sentence
    return sentence[:_MAX_DESCRIPTION].rsplit(" ", 1)[0] + " ..."


def _agrees(question: str, *, default: bool = True) -> bool:
    while True:
        answer = input(f"{question} [{'Y/n' if default else 'y/N'}]: ").strip().lower()
        if not answer:
            return default
        if answer in ("y", "yes", "n", "no"):
            return answer[0] == "y"
        say("Please answer y or n.")
