"""`python -m mock_servers stdio|http|sse|oauth|collector|browser [options] [-- ANYTHING]`.

What stands after `--` is only journalled, so that a test can see how arguments arrive. Options change the
script of `--script`, or the default one. Exit status: 0 after the end of the input, 2 for a wrong command
line or script, 70 for a fault in the mock, 124 when its life was over, 128 + N after signal N, or what a
script says.
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
    own, ignored = _split(argv)
    parser = _parser()
    options = parser.parse_args(own)
    if options.kind == "browser":
        from mock_servers import browser

        browser.visit(ignored, options.users, options.journal)
        return
    try:
        script = _base(options)
        journal = Journal(options.journal)
    except (ScriptError, OSError) as problem:
        parser.error(str(problem))
    if options.kind != "stdio" and options.background:
        from mock_servers import background

        background.leave()
    journal.write_start(ignored)
    script = _changed(script, options)
    # Imported late: the stdio mock must not wait for an HTTP server that it does not need.
    if options.kind == "stdio":
        from mock_servers import stdio

        stdio.serve(script, journal, max_life=options.max_life)
    else:
        try:
            from mock_servers.remote import serve
            from mock_servers.remote.listener import Place
        except ModuleNotFoundError as missing:
            if str(missing.name).startswith("mock_servers"):
                raise
            parser.error(
                f"{missing.name} is not installed; servers behind a URL need: pip install 'dynamic-mcp-reference[mocks]'"
            )

        place = Place(options.port, options.tls_cert, options.tls_key, options.host)
        serve.serve(options.kind, script, journal, place, max_life=options.max_life)


def _base(options: argparse.Namespace) -> Script:
    if options.everything:
        from mock_servers.everything import everything

        return everything(streams=options.kind != "stdio")
    return Script.load(options.script) if options.script else Script()


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in argv:
        return argv, []
    end = argv.index("--")
    return argv[:end], argv[end + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mock_servers",
        description="Fake MCP servers: well-behaved unless told otherwise; they journal all they see.",
    )
    kinds = parser.add_subparsers(title="servers", dest="kind", metavar="SERVER", required=True)
    stdio = kinds.add_parser(
        "stdio",
        help="a server on stdin and stdout",
        description="An MCP server on stdin and stdout. What stands after -- is ignored but journalled.",
    )
    _add_common(stdio)
    for kind, what in _REMOTE.items():
        description = f"{what[0].upper()}{what[1:]}. The first line on stdout is JSON with its url. "
        remote = kinds.add_parser(kind, help=what, description=description + "It ends when its stdin does.")
        _add_common(remote)
        remote.add_argument(
            "--port", type=int, default=0, metavar="N", help="listen here (default: any free port)"
        )
        remote.add_argument(
            "--host", default="127.0.0.1", metavar="ADDRESS", help="at this IPv4 address (default: 127.0.0.1)"
        )
        remote.add_argument(
            "--background",
            action="store_true",
            help="print the url and return as soon as it listens; it ends after --max-life",
        )
        remote.add_argument("--tls-cert", metavar="FILE", help="certificate chain: serve https")
        remote.add_argument("--tls-key", metavar="FILE", help="its key, if not in the same file")
        if kind == "oauth":
            _add_oauth(remote)
    browser = kinds.add_parser(
        "browser",
        help="not a server: a browser with a user, who signs in",
        description="Visits the URL among the arguments after --, as a browser would with a user before it; "
        "returns at once.",
    )
    browser.add_argument("--journal", metavar="FILE", help="append JSON lines about everything that happens")
    browser.add_argument(
        "--users", metavar="FILE", help="JSON list of mock_servers.browser.User, one for each visit"
    )
    return parser


_REMOTE = {
    "http": "a server behind a URL, Streamable HTTP",
    "sse": "a server behind a URL, HTTP+SSE of 2024-11-05",
    "oauth": "a server behind a URL that wants a bearer, and the authorization server that gives it",
    "collector": "an origin that journals every request and answers 204",
}


def _add_oauth(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--expires-in", type=int, metavar="S", help="lifetime of access tokens (default: 3600)")
    add("--no-rotation", action="store_true", help="refresh tokens stay good")
    add("--registration", action="store_true", help="offer dynamic client registration")
    add("--own-origin", action="store_true", help="the authorization server has a port of its own")
    add("--no-resource-metadata", action="store_true", help="as servers before RFC 9728")
    add("--iss", action="store_true", help="announce and send iss in authorization responses")


def _oauth(options: argparse.Namespace, oauth: OAuth) -> OAuth:
    """The lock with what the command line says."""
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
    add("--journal", metavar="FILE", help="append JSON lines about everything that happens")
    base = parser.add_mutually_exclusive_group()
    base.add_argument("--script", metavar="FILE", help="JSON file written by mock_servers.script.Script.save")
    base.add_argument(
        "--everything", action="store_true", help="serve what the official conformance suite asks for"
    )
    add("--era", choices=["legacy", "modern", "both"], help="protocol era (default: legacy)")
    add("--name", help="name in the server info")
    add("--page-size", type=int, metavar="N", help="entries per page of the lists")
    add(
        "--strict", action="store_true", default=None, help="refuse requests before notifications/initialized"
    )
    add("--silent", metavar="METHOD", action="append", default=[], help="never answer METHOD (repeatable)")
    add("--delay", type=float, metavar="S", help="answer each tools/call after S seconds")
    add("--crash-on-start", type=int, metavar="CODE", help="exit at once with this status")
    add("--ignore-eof", action="store_true", default=None, help="stay after the end of the input")
    add("--linger", type=float, metavar="S", help="with --ignore-eof: leave after S seconds")
    add("--ignore-sigterm", action="store_true", default=None, help="journal SIGTERM and stay")
    add("--sigterm-delay", type=float, metavar="S", help="upon SIGTERM work for S seconds before the exit")
    add("--grandchild", action="store_true", help="fork a process that outlives the mock")
    add(
        "--max-life",
        type=float,
        default=MAX_LIFE,
        metavar="S",
        help="end after S seconds (default: %(default)g)",
    )


def _changed(script: Script, options: argparse.Namespace) -> Script:
    """The script with what the command line says."""
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
        values["oauth"] = _oauth(options, script.oauth or OAuth())
    return replace(script, **{name: value for name, value in values.items() if value is not None})
