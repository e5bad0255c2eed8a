"""Shared by the command line and its commands: messages for the user, and the path of the configuration.

Every command prints by these functions. They make each line printable, because names, addresses and errors come from files and servers.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from dynamic_mcp.printable import MAX_LINE, escape_unencodable, indented, printable
from dynamic_mcp.unread import GONE, STDERR, discard_stderr

if TYPE_CHECKING:
    import argparse

    from dynamic_mcp.config.model import Config

USAGE_ERROR = 2
COMMANDS = ("check", "completion", "connect", "import", "login", "logout", "schema", "serve", "status")


def say(*lines: str, most: int | None = MAX_LINE) -> None:
    """Print lines for the user on stderr, each cut after ``most`` characters; None never cuts. Without a reader they are lost."""
    # Without a stderr, ``print`` would use stdout, which belongs to the client.
    if sys.stderr is not None:
        try:
            for line in lines:
                print(printable(line, most), file=sys.stderr)  # noqa: T201  # the output of a command
        except OSError as error:
            if error.errno in GONE:
                # Else what stays in the buffer of the stream would lead to an exit status of 120.
                discard_stderr()


def show(*lines: str, most: int | None = MAX_LINE) -> None:
    """Print lines of the result on stdout, each cut after ``most`` characters; None never cuts."""
    for line in lines:
        print(printable(line, most))  # noqa: T201  # the output of a command


def ask(question: str) -> str:
    """The answer of the user, without spaces at its ends. Raises EOFError."""
    answer = input(printable(question)).strip()
    # Characters that the encoding of stdin lacks; nearly every terminal sends UTF-8.
    return answer.encode(errors="surrogateescape").decode(errors="replace")


def accept_every_character() -> None:
    """Let the standard streams write and read characters that the encoding of the terminal lacks.

    The streams write these as JSON does, so the output of ``check --json`` stays JSON.
    """
    codecs.register_error("json-escapes", escape_unencodable)
    for stream, errors in (
        (sys.stdout, "json-escapes"),
        (sys.stderr, "json-escapes"),
        (sys.stdin, "surrogateescape"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def report_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an unexpected exception; an exception hook for ``sys``. A Ctrl-C needs no words."""
    import traceback

    if issubclass(kind, KeyboardInterrupt):
        return
    lines = indented("".join(traceback.format_exception(kind, error, trace)))
    STDERR.write("\n".join(("dynamic-mcp: internal error", *lines, "")).encode(errors="replace"))


def event_loop_options() -> dict[str, bool]:
    """The options of ``anyio.run`` for a proxy: uvloop, where it is installed."""
    import importlib.util

    return {"use_uvloop": importlib.util.find_spec("uvloop") is not None}


def fail(message: str, *more: str) -> NoReturn:
    """Print an error, which can have more lines, and exit with the status of a usage error."""
    say(f"dynamic-mcp: {message}", *more)
    sys.exit(USAGE_ERROR)


def config_path(argument: str | None, environment: Mapping[str, str]) -> str | None:
    """The configuration file that the argument or the environment names, or None."""
    path = argument or environment.get("DYNAMIC_MCP_CONFIG") or None
    # No shell has replaced a "~" in the variable, or in the configuration of a client.
    return path and os.path.expanduser(path)


def required_path(argument: str | None, command_line: argparse.ArgumentParser) -> Path:
    """The configuration file that the argument or the environment names; without one, ends the program."""
    path = config_path(argument, os.environ)
    if path is None:
        command_line.print_usage(sys.stderr)
        fail(
            "no configuration: name a file as the argument or in DYNAMIC_MCP_CONFIG; "
            "`dynamic-mcp import TOOL --yes` writes one with the servers of an AI tool"
        )
    return Path(path)


def absolute(path: Path) -> Path:
    """The path in full, because the folder of this process can disappear; ends the program if it already has."""
    try:
        return path.absolute()
    except OSError as error:
        fail(f"{path}: cannot be found: {error.strerror or error} (the current folder)")


def load(argument: str | None, command_line: argparse.ArgumentParser, also: str | None = None) -> Config:
    """The configuration for a command; ends the program if it is invalid. The server ``also`` counts as enabled."""
    from dynamic_mcp import log
    from dynamic_mcp.config.load import load_with
    from dynamic_mcp.errors import ConfigError

    path = required_path(argument, command_line)
    log.configure()
    try:
        return load_with(also, path, os.environ)
    except ConfigError as error:
        fail(*error.lines)
