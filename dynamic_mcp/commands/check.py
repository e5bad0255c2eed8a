"""``dynamic-mcp check CONFIG`` checks a configuration, and with ``--connect`` its servers.

Without ``--connect`` the command reads the file like the proxy, and prints each server and all warnings. With it, the command starts
every enabled server once. Literal values of headers and variables become ``(hidden)``, and only the host and the path of an address
remain. It prints the arguments of a command. References stay as they are.

Exit status: 0 valid, 1 a server failed (with ``--strict`` also: there are warnings), 2 the configuration is invalid.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.hidden import counted, hidden, oauth_lines, without_secrets, word
from dynamic_mcp.commands.terminal import USAGE_ERROR, config_path, show
from dynamic_mcp.config import defects
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config, Server, StdioTransport
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, TOOLS
from dynamic_mcp.origin import has_credentials_twice
from dynamic_mcp.printable import printable

if TYPE_CHECKING:
    from dynamic_mcp.commands.probe import ProbeResult

#: Characters of JSON in a token. An estimate, because each model has its own tokens.
CHARACTERS_PER_TOKEN = 4
#: Characters of the name and of the version of a server.
MAX_NAME = 200


class ProbeSummary(msgspec.Struct):
    """The result of ``--connect`` for one server."""

    ok: bool
    failure: str = ""
    #: a command that may help
    remedy: str = ""
    stderr: str = ""
    name: str = ""
    version: str = ""
    protocol: str = ""
    tools: int = 0
    resources: int = 0
    resource_templates: int = 0
    prompts: int = 0
    seconds: float = 0.0
    #: the size of its tool definitions in the context of a client that connects to it directly
    tokens: int = 0


class ServerReport(msgspec.Struct):
    """One server of the configuration."""

    name: str
    description: str
    transport: Literal["stdio", "http", "sse"]
    #: the command line, or the address
    runs: str
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    #: what the configuration says about signing in
    oauth: dict[str, str] = {}
    features: list[str] = []
    #: the names and patterns of the tools in use, and of those that are switched off
    tools: dict[str, list[str]] = {}
    connected: ProbeSummary | None = None


class CheckReport(msgspec.Struct):
    """The whole result, which ``--json`` prints."""

    config: str
    ok: bool
    servers: list[ServerReport] = []
    #: the names of the servers with ``"enabled": false``
    switched_off: list[str] = []
    warnings: list[str] = []
    #: why the configuration is invalid; several mistakes have a line each
    error: str | None = None
    #: tokens in the client's context: of all tools of all servers, and of the two tools of the proxy; None unless every server answered
    tokens_direct: int | None = None
    tokens_proxy: int | None = None


def parser() -> Parser:
    """The argument parser of the command."""
    result = Parser(prog="dynamic-mcp check", description="Check a configuration.", allow_abbrev=False)
    result.add_argument("config", nargs="?", metavar="CONFIG", help="the file (else DYNAMIC_MCP_CONFIG)")
    result.add_argument("--connect", action="store_true", help="start each server and show what it offers")
    result.add_argument("--strict", action="store_true", help="exit with status 1 for a warning too")
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    command_line = parser()
    options = command_line.parse_args(words)
    path = config_path(options.config, os.environ)
    if path is None:
        command_line.error("no configuration: name a file as the argument or in DYNAMIC_MCP_CONFIG")
    report = examine(Path(path), connect=options.connect)
    if options.json:
        text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
        show(*text.split("\n"), most=None)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        show(*(row for line in report_lines(report) for row in wrap(printable(line), width)))
    if report.error is not None:
        return USAGE_ERROR
    return 0 if report.ok and not (options.strict and report.warnings) else 1


def examine(path: Path, *, connect: bool) -> CheckReport:
    """Read the configuration, and with ``connect`` start its servers. The report contains all errors."""
    try:
        config = load(path, os.environ)
        # The same with unexpanded references, for the output.
        unexpanded = load(path, {name: f"${{{name}}}" for name in os.environ})
    except ConfigError as error:
        return CheckReport(str(path), ok=False, error="\n".join(error.lines))
    from dynamic_mcp.process.guard import Guard
    from dynamic_mcp.server import plug_in

    report = CheckReport(str(path), ok=True, servers=[server_report(server) for server in unexpanded.servers])
    report.switched_off = list(config.switched_off)
    report.warnings = [
        *config.warnings,
        *plug_in(Config(()), Guard()).warnings(path),
        *_likely_mistakes(config),
    ]
    if connect:
        _connect(config, report)
    return report


def server_report(server: Server) -> ServerReport:
    """What the proxy would run for a server, and what it uses of it, without values that may be secrets."""
    report = _transport_report(server)
    rules = {"allow": server.tools.allow, "deny": server.tools.deny or None}
    report.tools = {name: list(patterns) for name, patterns in rules.items() if patterns is not None}
    return report


def _transport_report(server: Server) -> ServerReport:
    features = [name for name in server.features.__struct_fields__ if getattr(server.features, name)]
    transport = server.transport
    if isinstance(transport, StdioTransport):
        words = [*transport.prefix, transport.command, *transport.args]
        env = {name: hidden(value) for name, value in transport.env}
        runs = " ".join(map(word, words))
        return ServerReport(server.name, server.description, "stdio", runs, env=env, features=features)
    kind: Literal["http", "sse"] = "sse" if transport.kind == "sse" else "http"
    headers = {name: hidden(value) for name, value in transport.headers}
    runs = without_secrets(transport.url.reveal())
    return ServerReport(
        server.name,
        server.description,
        kind,
        runs,
        headers=headers,
        oauth=oauth_lines(transport),
        features=features,
    )


def _likely_mistakes(config: Config) -> Iterator[str]:
    """Warnings about mistakes that loading does not find."""
    most = tool_surface.shortened({server.name: server.description for server in config.servers})
    if most is not None:
        part = f"at most {counted('character', most)} of each" if most else "none of the longer ones"
        yield f"the descriptions are too long together, so agents see {part}; shorten them"
    for server in config.servers:
        location = f"mcpServers.{server.name}"
        if not server.description.strip():
            yield f"{location}: the description is empty; an agent knows nothing else of the group"
        if isinstance(server.transport, StdioTransport):
            search = dict(server.transport.env).get("PATH")
            if next(defects.of_child(server.transport), None) is not None:
                # The configuration has a warning about it.
                continue
            program, cwd = (*server.transport.prefix, server.transport.command)[0], server.transport.cwd
            if cwd is not None and not os.path.isdir(cwd):
                yield f"{location}: the folder {cwd!r} of cwd does not exist"
                continue
            place = os.path.join(cwd or "", program) if os.path.dirname(program) else program
            if shutil.which(place, path=None if search is None else search.reveal()) is None:
                yield f"{location}: the command {program!r} is not on PATH, or not executable"
        elif has_credentials_twice(
            server.transport.url.reveal(), (name for name, _ in server.transport.headers)
        ):
            yield f"{location}: both the url and the Authorization header hold credentials; remove one of them"


# The servers


def _connect(config: Config, report: CheckReport) -> None:
    from dynamic_mcp.commands.probe import probe_server
    from dynamic_mcp.frontend.tools import tool_definitions
    from dynamic_mcp.process import descriptors
    from dynamic_mcp.process.guard import Guard

    descriptors.raise_limit()

    async def probe_all() -> list[ProbeResult]:
        guard = Guard()
        try:
            return await asyncio.gather(*(probe_server(server, guard) for server in config.servers))
        finally:
            await guard.close()

    for server_report, result in zip(report.servers, asyncio.run(probe_all()), strict=True):
        server_report.connected = _summary(result)
        if result.needs_sign_in:
            server_report.connected.remedy = (
                f"dynamic-mcp login {shlex.join((server_report.name, report.config))}"
            )
    summaries = [server.connected for server in report.servers if server.connected is not None]
    report.ok = all(summary.ok for summary in summaries)
    if report.ok:
        # The number of tokens of a failed server is unknown, so a sum would be wrong.
        report.tokens_direct = sum(summary.tokens for summary in summaries)
        report.tokens_proxy = _tokens(len(tool_definitions(config.servers)))


def _summary(result: ProbeResult) -> ProbeSummary:
    definitions = sum(len(bytes(raw)) for raw in result.listings.get(TOOLS, {}).values())
    return ProbeSummary(
        ok=not result.failure,
        failure=result.failure,
        stderr=result.last_output,
        name=result.title,
        version=result.version,
        protocol=result.protocol,
        tools=len(result.listings.get(TOOLS, {})),
        resources=len(result.listings.get(RESOURCES, {})),
        resource_templates=len(result.listings.get(TEMPLATES, {})),
        prompts=len(result.listings.get(PROMPTS, {})),
        seconds=round(result.seconds, 3),
        tokens=_tokens(definitions),
    )


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


# The output as text


def report_lines(report: CheckReport) -> Iterator[str]:
    """The report as lines of text."""
    if report.error is not None:
        first, *more = report.error.split("\n")
        yield from (f"unusable  {first}", *more)
        return
    yield f"{report.config}: {counted('enabled server', len(report.servers))}{_switched_off(report.switched_off)}"
    for server in report.servers:
        yield ""
        yield f"{server.name}  {server.description}"
        yield f"  {server.transport}  {server.runs}"
        for what, table in (("env", server.env), ("header", server.headers), ("oauth", server.oauth)):
            for name, value in table.items():
                yield f"  {what}  {name}={value}"
        if len(server.features) < 3:
            yield f"  uses only {', '.join(server.features) or 'nothing'}"
        yield from (f"  {line}" for line in tool_lines(server))
        if server.connected is not None:
            yield from (f"  {line}" for line in _summary_lines(server.connected))
    if report.warnings:
        yield ""
        yield from (f"warning  {warning}" for warning in report.warnings)
    if all(server.connected is None for server in report.servers):
        yield ""
        yield "No server was started; --connect starts each once and shows what it offers."
    elif report.tokens_direct is not None:
        yield ""
        yield (
            f"In the client's context: about {report.tokens_proxy} tokens with the proxy, "
            f"{report.tokens_direct} with these servers side by side ({CHARACTERS_PER_TOKEN} characters are one token)."
        )


def tool_lines(server: ServerReport) -> Iterator[str]:
    """What the configuration says about the tools of a server."""
    for name, patterns in server.tools.items():
        yield f"tools.{name}  {', '.join(patterns) or 'none'}"


def _switched_off(names: list[str]) -> str:
    return f", {len(names)} switched off ({', '.join(names)})" if names else ""


def _summary_lines(result: ProbeSummary) -> Iterator[str]:
    if not result.ok:
        yield f"FAILED  {result.failure}"
        if result.remedy:
            yield f"try  {result.remedy}"
        yield from (f"  {line}" for line in result.stderr.splitlines()[-5:])
        return
    name = f"{printable(result.name, MAX_NAME)} {printable(result.version, MAX_NAME)}".strip() or "it"
    kinds = (
        ("tool", result.tools),
        ("resource", result.resources + result.resource_templates),
        ("prompt", result.prompts),
    )
    has = ", ".join(counted(kind, number) for kind, number in kinds if number) or "nothing"
    yield f"ok  {name}, protocol {printable(result.protocol, MAX_NAME)}: {has}; {result.seconds:.1f} s; about {result.tokens} tokens"


#: Lines with these labels are not wrapped, so that the user can copy them.
_UNWRAPPED = ("stdio", "http", "sse", "env", "header", "oauth", "try")


def wrap(line: str, width: int | None) -> list[str]:
    """The line as rows of a terminal, indented like the text of the first row. Without a ``width`` the line stays whole."""
    label = re.match(r" *(\S+)  ", line)
    if width is None or len(line) <= width or (label is not None and label[1] in _UNWRAPPED):
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) if label is None else label.end())
    return textwrap.wrap(
        line, max(width, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
