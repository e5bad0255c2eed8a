"""Completion in the shell (extra ``completion``): ``dynamic-mcp completion SHELL`` prints what a shell has to load.

A shell that has loaded it starts the program at each TAB and takes what that offers: commands, options, files, and where a server is named
the names in the configuration, which is read and nothing else. No command is run for it, and any other start imports nothing of this.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dynamic_mcp.commands.terminal import COMMANDS, config_path, fail

PROGRAMS = ("dynamic-mcp", "dynamic-mcp-conformance")
SHELLS = ("bash", "zsh", "fish")


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="dynamic-mcp completion", description="Print what a shell has to load.", allow_abbrev=False
    )
    result.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    given = parser().parse_args(words)
    try:
        import argcomplete
    except ImportError:
        fail("completion needs the extra for it: pip install 'dynamic-mcp-reference[completion]'")
    sys.stdout.write(argcomplete.shellcode(PROGRAMS, shell=given.shell))
    return 0


def answer(serving: Callable[..., argparse.ArgumentParser]) -> None:
    """Offer what the line of the shell can go on with, and end the program; return where the extra is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    files = argcomplete.FilesCompleter()

    def offered(
        prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **_: object
    ) -> list[str]:
        return server_names(parsed_args.config) if action.dest == "server" else list(files(prefix))

    line = os.environ.get("COMP_LINE", "").split()
    # Options only where nothing else fits, or a dash asks for them.
    argcomplete.autocomplete(
        whole(line[1:2], serving), always_complete_options=False, default_completer=offered
    )


def whole(first: Sequence[str], serving: Callable[..., argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """One parser for all commands. ``first`` is the first word of the line, if there is one: it may be a command or the configuration."""
    from dynamic_mcp.commands import check, login
    from dynamic_mcp.commands.importing import command

    # A parser that takes a configuration would take the command for one.
    result = serving(takes_config=not set(COMMANDS) & set(first))
    commands = result.add_subparsers(dest="command")
    login.add_commands(commands)
    for name, make in (("import", command.parser), ("check", check.parser), ("completion", parser)):
        own = make()
        commands.add_parser(name, parents=[own], help=own.description, conflict_handler="resolve")
    commands.add_parser("schema", help="Print the JSON Schema of configurations.")
    assert commands.choices.keys() == set(COMMANDS)
    return result


def server_names(config: str | None) -> list[str]:
    """The servers in the configuration that the line or the environment names; none where it cannot be read."""
    path = config_path(config, os.environ)
    try:
        match json.loads(Path(path or "").read_bytes()):
            case {"mcpServers": dict(servers)}:
                return list(servers)
    except (OSError, ValueError, RecursionError):
        pass
    return []
