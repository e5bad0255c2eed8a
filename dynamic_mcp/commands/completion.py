"""Completion in the shell (extra ``completion``): ``dynamic-mcp completion SHELL`` prints a script for the shell.

With that script, the shell starts the program at each TAB. The program then suggests commands, options, files, and the names of
servers from the configuration. It runs no command. Other starts of the program do not import this module.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence

from dynamic_mcp import files
from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.terminal import COMMANDS, config_path, fail
from dynamic_mcp.printable import printable

PROGRAMS = ("dynamic-mcp", "dynamic-mcp-conformance")
SHELLS = ("bash", "zsh", "fish")


def parser() -> Parser:
    """The argument parser of the command."""
    result = Parser(
        prog="dynamic-mcp completion",
        description="Print the completion script for a shell.",
        allow_abbrev=False,
    )
    result.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    options = parser().parse_args(words)
    try:
        import argcomplete
    except ImportError:
        fail("completion needs an extra: pip install 'dynamic-mcp-reference[completion]'")
    sys.stdout.write(argcomplete.shellcode(PROGRAMS, shell=options.shell))
    return 0


def answer(serving: Callable[..., Parser]) -> None:
    """Print the suggestions for the line of the shell, and end the program. Returns if the extra is not installed."""
    try:
        import argcomplete
    except ImportError:
        return
    files = argcomplete.FilesCompleter()

    def complete(
        prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **_: object
    ) -> list[str]:
        return server_names(parsed_args.config) if action.dest == "server" else list(files(prefix))

    line = os.environ.get("COMP_LINE", "").split()
    # Suggest options only if nothing else fits, or after a dash.
    argcomplete.autocomplete(
        full_parser(line[1:2], serving), always_complete_options=False, default_completer=complete
    )


def full_parser(first: Sequence[str], serving: Callable[..., Parser]) -> Parser:
    """One parser for all commands. ``first`` contains the first word of the line, a command or the configuration, if any."""
    from dynamic_mcp.commands import check, connect, login, serve, status
    from dynamic_mcp.commands.importing import command

    # A parser that takes a configuration would read the command as its path.
    result = serving(takes_config=not set(COMMANDS) & set(first))
    commands = result.add_subparsers(dest="command")
    login.add_commands(commands)
    for name, make in (
        ("import", command.parser),
        ("check", check.parser),
        ("completion", parser),
        ("connect", connect.parser),
        ("serve", serve.parser),
        ("status", status.parser),
    ):
        command_parser = make()
        commands.add_parser(
            name, parents=[command_parser], help=command_parser.description, conflict_handler="resolve"
        )
    commands.add_parser("schema", help="Print the JSON Schema of configurations.")
    assert commands.choices.keys() == set(COMMANDS)
    return result


def server_names(config: str | None) -> list[str]:
    """The servers in the configuration that the line or the environment names; none if it is unreadable."""
    path = config_path(config, os.environ)
    try:
        match json.loads(files.read(path or "", files.MAX_CONFIG, follow=True)):
            case {"mcpServers": dict(servers)}:
                # The shell prints the names, so the others cannot be suggested.
                return [name for name in servers if printable(name) == name]
    except (OSError, ValueError, RecursionError):
        pass
    return []
