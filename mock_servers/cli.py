"""`python -m mock_servers stdio|http|sse|oauth|collector|browser|hostile [options] [-- ANYTHING]`.

A mock only journals the words after `--`, so a test can see how arguments arrive. Options change the script of `--script`, or the default
script. The exit status is 0 after the end of the input, and 2 for a wrong command line or script. It is 70 for a fault in the mock, 124
after `--max-life`, 128 + N after signal N, or the status that the script sets.
"""

import argparse
import sys
from dataclasses import replace
from typing import Any

from mock_servers.actions import crash, silence, sleep
from mock_servers.journal import Journal
from mock_servers.lifecycle import MAX_LIFE
from mock_servers.oauth_script import OAuth
from mock_servers.script import Grandchild, Rule, Script, ScriptError, on_call


def main(argv: list[str] | None = None) -> None:
    """Run a mock; never returns normally."""
    argv = sys.argv[1:] if argv is None else argv
    words, ignored = _split(argv)
    parser = _parser()
    options = parser.parse_args(words)
    if options.kind == "hostile":
        _list_hostile()
        return
    if options.kind == "browser":
        from mock_servers import browser

        browser.visit(ignored, options.users, options.journal)
        return
    try:
        script = _load_script(options)
        journal = Journal(options.journal)
    except (ScriptError, OSError) as problem:
        parser.error(str(problem))
    if options.kind != "stdio" and options.background:
        from mock_servers import background

        background.detach()
    journal.write_start(ignored)
    script = _apply_options(script, options)
    # Imported late: the stdio mock must not load an HTTP server that it does not need.
    if options.kind == "stdio":
        from mock_servers import stdio

        stdio.serve(script, journal, max_life=options.max_life)
    else:
        try:
            from mock_servers.remote import serve
            from mock_servers.remote.listener import ListenAddress
        except ModuleNotFoundError as missing:
            if str(missing.name).startswith("mock_servers"):
                raise
            parser.error(
                f"{missing.name} is not installed; servers behind a URL need: pip install 'dynamic-mcp-reference[mocks]'"
            )

        address = ListenAddress(options.port, options.tls_cert, options.tls_key, options.host)
        serve.serve(options.kind, script, journal, address, max_life=options.max_life)


def _load_script(options: argparse.Namespace) -> Script:
    if options.everything:
        from mock_servers.everything import everything

        return everything(streams=options.kind != "stdio")
    if options.hostile is not None:
        from mock_servers.hostile import HOSTILE

        if options.hostile not in HOSTILE:
            raise ScriptError(
                f"no hostile server is named {options.hostile!r}; see: python -m mock_servers hostile"
            )
        server = HOSTILE[options.hostile]
        if server.transport != options.kind:
            raise ScriptError(f"{server.name} is a server for {server.transport}, not for {options.kind}")
        return server.script()
    return Script.load(options.script) if options.script else Script()


def _list_hostile() -> None:
    """Print every hostile server with its transport and what it does."""
    from mock_servers.hostile import HOSTILE

    for server in HOSTILE.values():
        print(f"{server.name} ({server.transport}): {server.attack}")


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in argv:
        return argv, []
    end = argv.index("--")
    return argv[:end], argv[end + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mock_servers",
        description="Fake MCP servers, well-behaved unless a script or an option changes that. "
        "They can journal everything that they see.",
    )
    kinds = parser.add_subparsers(title="servers", dest="kind", metavar="SERVER", required=True)
    stdio = kinds.add_parser(
        "stdio",
        help="a server on stdin and stdout",
        description="An MCP server on stdin and stdout. It ignores the words after --, but journals them.",
    )
    _add_common(stdio)
    for kind, what in _REMOTE.items():
        description = f"{what[0].upper()}{what[1:]}. The first line on stdout is JSON with its url. "
        remote = kinds.add_parser(
            kind, help=what, description=description + "The server ends with its stdin."
        )
        _add_common(remote)
        remote.add_argument(
            "--port", type=int, default=0, metavar="N", help="port to listen on (default: any free port)"
        )
        remote.add_argument(
            "--host",
            default="127.0.0.1",
            metavar="ADDRESS",
            help="IPv4 address to listen on (default: 127.0.0.1)",
        )
        remote.add_argument(
            "--background",
            action="store_true",
            help="print the url and return as soon as the server listens; the server ends after --max-life",
        )
        remote.add_argument("--tls-cert", metavar="FILE", help="certificate chain; serves https")
        remote.add_argument(
            "--tls-key", metavar="FILE", help="key of the certificate, if it has its own file"
        )
        if kind == "oauth":
            _add_oauth(remote)
    kinds.add_parser(
        "hostile",
        help="not a server: list the hostile servers",
        description="Lists the names for --hostile, with the transport and the attack of each server.",
    )
    browser = kinds.add_parser(
        "browser",
        help="not a server: a browser whose user signs in",
        description="Visits the URL among the arguments after --, as a browser with a user does. Returns at once.",
    )
    browser.add_argument("--journal", metavar="FILE", help="append one JSON line for each event")
    browser.add_argument(
        "--users", metavar="FILE", help="JSON list of mock_servers.browser.User, one for each visit"
    )
    return parser


_REMOTE = {
    "http": "a server behind a URL, Streamable HTTP",
    "sse": "a server behind a URL, HTTP+SSE of 2024-11-05",
    "oauth": "a server behind a URL that requires a bearer token, and its authorization server",
    "collector": "an origin that journals every request and answers 204",
}


def _add_oauth(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--expires-in", type=int, metavar="S", help="lifetime of access tokens (default: 3600)")
    add("--no-rotation", action="store_true", help="refresh tokens stay valid after use")
    add("--registration", action="store_true", help="offer dynamic client registration")
    add("--own-origin", action="store_true", help="the authorization server has its own port")
    add("--no-resource-metadata", action="store_true", help="no metadata, as servers before RFC 9728")
    add("--iss", action="store_true", help="announce and send iss in authorization responses")


def _apply_oauth_options(options: argparse.Namespace, oauth: OAuth) -> OAuth:
    """The script's `oauth` part with the changes of the command line."""
    changes: dict[str, Any] = {}
    if options.expires_in is not None:
        changes["lifetimes"] = [options.expires_in]
    if options.no_rotation:
        changes["rotation"] = False
    if options.registration:
        changes["registration"] = True
    if options.own_origin:
        changes["own_origin"] = True
    if options.no_resource_metadata:
        changes["resource_metadata"] = []
    if options.iss:
        announced = {"authorization_response_iss_parameter_supported": True}
        changes |= {"iss": "$issuer", "server_fields": {**oauth.server_fields, **announced}}
    return replace(oauth, **changes)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--journal", metavar="FILE", help="append one JSON line for each event")
    base = parser.add_mutually_exclusive_group()
    base.add_argument("--script", metavar="FILE", help="JSON file from mock_servers.script.Script.save")
    base.add_argument(
        "--everything", action="store_true", help="serve everything that the official conformance suite needs"
    )
    base.add_argument("--hostile", metavar="NAME", help="serve the attack with this name, see: hostile")
    add("--era", choices=["legacy", "modern", "both"], help="protocol era (default: legacy)")
    add("--name", help="name in the server info")
    add("--page-size", type=int, metavar="N", help="entries per page of each list")
    add(
        "--strict", action="store_true", default=None, help="refuse requests before notifications/initialized"
    )
    add("--silent", metavar="METHOD", action="append", default=[], help="never answer METHOD (repeatable)")
    add("--delay", type=float, metavar="S", help="answer each tools/call after S seconds")
    add("--crash-on-start", type=int, metavar="CODE", help="exit at once with this status")
    add("--ignore-eof", action="store_true", default=None, help="keep running after the end of the input")
    add("--linger", type=float, metavar="S", help="with --ignore-eof: exit after S seconds")
    add("--ignore-sigterm", action="store_true", default=None, help="journal SIGTERM and keep running")
    add("--sigterm-delay", type=float, metavar="S", help="after SIGTERM, work for S seconds before the exit")
    add("--grandchild", action="store_true", help="fork a process that outlives the mock")
    add(
        "--max-life",
        type=float,
        default=MAX_LIFE,
        metavar="S",
        help="end after S seconds (default: %(default)g)",
    )


def _apply_options(script: Script, options: argparse.Namespace) -> Script:
    """The script with the changes of the command line."""
    names = (
        "era",
        "name",
        "page_size",
        "strict",
        "ignore_eof",
        "linger",
        "ignore_sigterm",
        "sigterm_delay",
    )
    values: dict[str, Any] = {name: getattr(options, name) for name in names}
    rules = [Rule(method, [silence()]) for method in options.silent]
    if options.delay is not None:
        rules.append(on_call(None, sleep(options.delay)))
    if options.crash_on_start is not None:
        values["startup"] = [crash(options.crash_on_start), *script.startup]
    if options.grandchild:
        values["grandchildren"] = [*script.grandchildren, Grandchild()]
    values["on"] = [*rules, *script.on]
    if options.kind == "oauth":
        values["oauth"] = _apply_oauth_options(options, script.oauth or OAuth())
    return replace(script, **{name: value for name, value in values.items() if value is not None})
