"""The command line: ``dynamic-mcp [CONFIG]`` serves; the other commands are for a user at a terminal.

The argument, else ``DYNAMIC_MCP_CONFIG`` (if it is not empty), names the configuration. The proxy looks nowhere else (dynamic-mcp
SECURITY.md 1.3.0: "no default discovery"). Exit status: 0 after the client closed a stream, 2 for a usage or configuration error,
128 + n after signal n. Large imports wait until they are needed, because an agent starts the proxy for every session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dynamic_mcp import __version__
from dynamic_mcp.commands.terminal import (
    COMMANDS,
    absolute,
    accept_every_character,
    config_path,
    event_loop_options,
    fail,
    report_crash,
    required_path,
    say,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from dynamic_mcp.commands.arguments import Parser
    from dynamic_mcp.extras.sharing.place import Place
    from dynamic_mcp.hooks import EarlyResponder

#: Seconds for which shared servers outlive the last session, without ``--linger``.
_LINGER = 30.0

_EPILOG = """\
commands, each with its own --help:
  import      write a configuration with the servers of an AI tool
  check       check a configuration, and show what its servers offer
  login       sign in to a server behind a URL before the proxy needs it
  logout      delete the tokens of a server
  serve       serve several clients over HTTP
  connect     connect a client on stdio to a proxy that serves over HTTP
  status      show the proxies with --share, their clients and servers
  schema      print the JSON Schema of a configuration
  completion  print the script that completes these commands in a shell

DYNAMIC_MCP_CONFIG names the configuration if no argument does.
DYNAMIC_MCP_LOG (or RUST_LOG) sets the log level if --log-level does not.
"""


def parser(*, takes_config: bool = True) -> Parser:
    """The argument parser for serving."""
    import argparse

    from dynamic_mcp.commands.arguments import Parser

    result = Parser(
        prog="dynamic-mcp",
        description="Serve many MCP servers to one client as two tools, with schemas on demand.",
        usage="%(prog)s [--log-level LEVEL] [--share [--linger TIME]] [CONFIG]\n"
        "       %(prog)s serve [CONFIG] [--listen HOST:PORT] [--token-file FILE]\n"
        "       %(prog)s connect URL [--token-file FILE]\n"
        "       %(prog)s status [CONFIG|URL] [--json]\n"
        "       %(prog)s login SERVER [CONFIG] [--no-browser]\n"
        "       %(prog)s logout SERVER [CONFIG]\n"
        "       %(prog)s import TOOL [--global] [--output FILE] [--yes] [--start]\n"
        "       %(prog)s check [CONFIG] [--connect] [--strict] [--json]\n"
        "       %(prog)s schema\n"
        "       %(prog)s completion SHELL",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if takes_config:
        result.add_argument("config", nargs="?", metavar="CONFIG", help="the configuration file (JSON)")
    result.add_log_level()
    result.add_argument(
        "--share", action="store_true", help="share the servers with the other sessions of this configuration"
    )
    result.add_argument(
        "--linger",
        metavar="TIME",
        help="with --share: how long the servers outlive the last session (default: 30s)",
    )
    result.add_argument("--version", action="version", version=f"dynamic-mcp {__version__}")
    return result


def main(arguments: Sequence[str] | None = None, early: EarlyResponder | None = None) -> None:
    """Run the command line and exit. ``early`` has answered the first requests of the client."""
    sys.excepthook = report_crash
    accept_every_character()
    words = sys.argv[1:] if arguments is None else list(arguments)
    if "_ARGCOMPLETE" in os.environ:
        from dynamic_mcp.commands import completion

        completion.answer(parser)
    run = _command(words)
    sys.exit(_serve(words, early) if run is None else run(words[1:]))


def _command(words: Sequence[str]) -> Callable[[Sequence[str]], int] | None:
    """The command that the first word names, which takes the rest; None if the words are about serving one client."""
    match words:
        case ["completion", *_]:
            from dynamic_mcp.commands import completion

            return completion.main
        case ["login" | "logout" as verb, *_]:
            from dynamic_mcp.commands import login

            return lambda rest: login.main((verb, *rest))
        case ["import", *_]:
            from dynamic_mcp.commands.importing import command

            return command.main
        case ["check", *_]:
            from dynamic_mcp.commands import check

            return check.main
        case ["status", *_]:
            from dynamic_mcp.commands import status

            return status.main
        case ["connect", *_]:
            from dynamic_mcp.commands import connect

            return connect.main
        case ["serve", *_]:
            from dynamic_mcp.commands import serve

            return serve.main
        case ["schema", *_]:
            return _print_schema
    return None


def _print_schema(rest: Sequence[str]) -> int:
    from dynamic_mcp.commands.arguments import Parser
    from dynamic_mcp.config.load import schema

    Parser(prog="dynamic-mcp schema", description="Print the JSON Schema of a configuration.").parse_args(
        rest
    )
    sys.stdout.buffer.write(schema())
    return 0


def _serve(words: Sequence[str], early: EarlyResponder | None) -> int:
    """Serve a client on the standard streams; the exit status."""
    path, options = _parsed(words)
    if options is not None and options.share:
        return _share(path, options)
    if options is not None and options.linger is not None:
        parser().error("--linger needs --share")
    log_level = None if options is None else options.log_level

    import anyio

    from dynamic_mcp import log
    from dynamic_mcp.config.load import load, parse
    from dynamic_mcp.errors import ConfigError
    from dynamic_mcp.frontend.client import take_over_stdio
    from dynamic_mcp.server import serve

    log.configure(log_level)
    try:
        loaded = load(path, os.environ) if early is None else parse(early.content, str(path), os.environ)
        _greet_user()
        source, sink = take_over_stdio()
        return anyio.run(
            serve, absolute(path), loaded, source, sink, early, backend_options=event_loop_options()
        )
    except ConfigError as error:
        fail(*error.lines)


def _parsed(words: Sequence[str]) -> tuple[Path, argparse.Namespace | None]:
    """The path of the configuration, and the options if there are any; ends the program if the words are wrong."""
    match words:
        case [str(word)] if word and not word.startswith("-"):
            # The usual command line; it needs no parser, whose import takes 4 ms.
            return Path(config_path(word, os.environ) or word), None
    command_line = parser()
    options, rest = command_line.parse_known_args(words)
    if rest:
        _refuse_rest(options.config, rest, command_line)
    return required_path(options.config, command_line), options


def _share(path: Path, options: argparse.Namespace) -> int:
    """Serve a client on the standard streams with the servers of all sessions; the exit status."""
    from importlib.util import find_spec

    if sys.platform == "win32" or find_spec("dynamic_mcp.extras") is None:
        fail("--share needs a POSIX system, and the extras of the proxy; start it without --share")
    from dynamic_mcp import log
    from dynamic_mcp.config.load import load
    from dynamic_mcp.errors import ConfigError
    from dynamic_mcp.extras.sharing import attach

    linger = _LINGER if options.linger is None else parser().seconds_of("--linger", options.linger)
    path = absolute(path)

    def serve(place: Place, on_listening: Callable[[], int]) -> int:
        import anyio

        from dynamic_mcp.extras.sharing.door import SocketDoor
        from dynamic_mcp.server import serve_many

        config = load(path, os.environ)
        door = SocketDoor(path, place, linger, on_listening)
        return anyio.run(serve_many, path, config, door, backend_options=event_loop_options())

    log.configure(options.log_level)
    try:
        # Mistakes in the file belong on the stderr of the client.
        for warning in load(path, os.environ).warnings:
            log.log.warning("%s", warning)
        _greet_user()
        return attach.run(path, serve)
    except ConfigError as error:
        fail(*error.lines)


def _greet_user() -> None:
    """Tell a user who starts the proxy at a terminal what it waits for."""
    if os.isatty(0):
        say(
            "dynamic-mcp waits here for the messages of an MCP client, which should start it; Ctrl-C ends it."
        )


def _refuse_rest(first: str | None, rest: Sequence[str], command_line: argparse.ArgumentParser) -> NoReturn:
    """End the program with an error about surplus words. The first word may be a misspelled command."""
    import difflib

    if first is not None and first.isalpha() and not os.path.exists(first):
        near = difflib.get_close_matches(first, COMMANDS, n=1)
        fail(f"unknown command {first!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    command_line.error(f"unrecognized arguments: {' '.join(rest)}")
