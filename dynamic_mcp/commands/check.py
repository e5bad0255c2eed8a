"""``dynamic-mcp check CONFIG``: is this configuration right, and do its servers work?

Without ``--connect`` nothing is started: the file is read as the proxy would read it, each server is shown as it would run, and what
looks wrong is said. With it every enabled server is started once. Values are not shown: a reference is shown as it is written, a
literal value of a header or variable as ``(hidden)``, of an address its host and path.

Exit status: 0 right, 1 something is wrong (with ``--strict`` also: something looks wrong), 2 the configuration cannot be used.
"""

from __future__ import annotations

import argparse
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
from urllib.parse import urlsplit

import msgspec

from dynamic_mcp.commands.terminal import USAGE_ERROR, config_path
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Server, StdioTransport
from dynamic_mcp.errors import ConfigError
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, TOOLS
from dynamic_mcp.origin import has_credentials_twice
from dynamic_mcp.secret import Secret

if TYPE_CHECKING:
    from dynamic_mcp.commands.probe import ProbeResult
    from dynamic_mcp.config.model import Config

#: Characters of JSON that are about one token to the models of today. An estimate: each model cuts text in its own way.
CHARACTERS_PER_TOKEN = 4

_REFERENCES_ONLY = re.compile(r"((Bearer|Basic) )?(\$\{[A-Za-z_][A-Za-z0-9_]*\})+")


class Connected(msgspec.Struct):
    """What ``--connect`` found of one server."""

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
    #: what the definitions of its tools take up in the context of a client that is connected to it directly
    tokens: int = 0


class ServerReport(msgspec.Struct):
    """One server as it would run."""

    name: str
    description: str
    transport: Literal["stdio", "http", "sse"]
    #: the command line, or the address
    runs: str
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    features: list[str] = []
    connected: Connected | None = None


class Report(msgspec.Struct):
    """All that was found; ``--json`` prints it."""

    config: str
    ok: bool
    servers: list[ServerReport] = []
    #: the names of those with ``"enabled": false``
    switched_off: list[str] = []
    warnings: list[str] = []
    #: why the configuration cannot be used
    error: str | None = None
    #: in the client's context: every tool of every server, and instead the two tools of the proxy; None unless every server answered
    tokens_direct: int | None = None
    tokens_proxy: int | None = None


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="dynamic-mcp check", description="Say whether a configuration is right.", allow_abbrev=False
    )
    result.add_argument("config", nargs="?", metavar="CONFIG", help="the file (else DYNAMIC_MCP_CONFIG)")
    result.add_argument("--connect", action="store_true", help="start each server and see what it has")
    result.add_argument("--strict", action="store_true", help="exit 1 for a warning, too")
    result.add_argument("--json", action="store_true", help="print JSON")
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    command_line = parser()
    given = command_line.parse_args(words)
    named = config_path(given.config, os.environ)
    if named is None:
        command_line.error("no configuration: name a file as the argument or in DYNAMIC_MCP_CONFIG")
    report = examine(Path(named), connect=given.connect)
    if given.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.writelines(f"{row}\n" for line in shown(report) for row in fitted(line, width))
    if report.error is not None:
        return USAGE_ERROR
    return 0 if report.ok and not (given.strict and report.warnings) else 1


def examine(path: Path, *, connect: bool) -> Report:
    """Read the configuration, and with ``connect`` start its servers. Never raises for what is wrong with them."""
    try:
        config = load(path, os.environ)
        # The same with each reference standing for itself, to show.
        written = load(path, {name: f"${{{name}}}" for name in os.environ})
    except ConfigError as error:
        return Report(str(path), ok=False, error=str(error))
    report = Report(str(path), ok=True, servers=[_as_it_runs(server) for server in written.servers])
    report.switched_off = list(config.switched_off)
    report.warnings = [*config.warnings, *filter(None, [config.exposed]), *_oddities(config, written)]
    if connect:
        _connect(config, report)
    return report


def _as_it_runs(server: Server) -> ServerReport:
    features = [name for name in server.features.__struct_fields__ if getattr(server.features, name)]
    transport = server.transport
    if isinstance(transport, StdioTransport):
        words = [*transport.prefix, transport.command, *transport.args]
        env = {name: _hidden(value) for name, value in transport.env}
        runs = " ".join(word if re.fullmatch(r"[\w@%+=:,./${}-]+", word) else repr(word) for word in words)
        return ServerReport(server.name, server.description, "stdio", runs, env=env, features=features)
    kind: Literal["http", "sse"] = "sse" if type(transport).__name__ == "SseTransport" else "http"
    headers = {name: _hidden(value) for name, value in transport.headers}
    runs = _without_secrets(transport.url.reveal())
    return ServerReport(server.name, server.description, kind, runs, headers=headers, features=features)


def _hidden(value: Secret) -> str:
    """A value that consists of references as it is written; of any other, nothing."""
    text = value.reveal()
    return text if not text or _REFERENCES_ONLY.fullmatch(text) else "(hidden)"


def _without_secrets(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(no address)"
    return f"{parts.scheme}://{host}{port}{parts.path}" + ("?(hidden)" if parts.query else "")


def _oddities(config: Config, written: Config) -> Iterator[str]:
    """What a start would not stumble over, or only later."""
    for server, as_written in zip(config.servers, written.servers, strict=True):
        place = f"mcpServers.{server.name}"
        if not server.description.strip():
            yield f"{place}: the description is empty; it is all that an agent knows of the group"
        if isinstance(server.transport, StdioTransport):
            search = dict(server.transport.env).get("PATH")
            program = (*server.transport.prefix, server.transport.command)[0]
            if shutil.which(program, path=None if search is None else search.reveal()) is None:
                yield f"{place}: the command {program!r} is not on PATH, or not executable"
            if isinstance(as_written.transport, StdioTransport) and "${" in as_written.transport.command:
                yield f"{place}: references are not replaced in command; write it in full"
        elif has_credentials_twice(
            server.transport.url.reveal(), (name for name, _ in server.transport.headers)
        ):
            yield f"{place}: both the url and the Authorization header hold credentials; remove one of them"


# What the servers say


def _connect(config: Config, report: Report) -> None:
    from dynamic_mcp.commands.probe import look
    from dynamic_mcp.frontend.tools import tool_definitions
    from dynamic_mcp.process.guard import Guard

    async def look_at_all() -> list[ProbeResult]:
        guard = Guard()
        try:
            return await asyncio.gather(*(look(server, guard) for server in config.servers))
        finally:
            await guard.close()

    for shown_, seen in zip(report.servers, asyncio.run(look_at_all()), strict=True):
        shown_.connected = _summary(seen)
        if seen.needs_sign_in:
            shown_.connected.remedy = f"dynamic-mcp login {shlex.join((shown_.name, report.config))}"
    every = [server.connected for server in report.servers if server.connected is not None]
    report.ok = all(one.ok for one in every)
    if report.ok:
        # A server that did not answer has an unknown number of tokens, and no sum with it means anything.
        report.tokens_direct = sum(one.tokens for one in every)
        report.tokens_proxy = _tokens(len(tool_definitions(config.servers)))


def _summary(seen: ProbeResult) -> Connected:
    definitions = sum(len(bytes(raw)) for raw in seen.listings.get(TOOLS, {}).values())
    return Connected(
        ok=not seen.failure,
        failure=seen.failure,
        stderr=seen.stderr_tail,
        name=seen.title,
        version=seen.version,
        protocol=seen.protocol,
        tools=len(seen.listings.get(TOOLS, {})),
        resources=len(seen.listings.get(RESOURCES, {})),
        resource_templates=len(seen.listings.get(TEMPLATES, {})),
        prompts=len(seen.listings.get(PROMPTS, {})),
        seconds=round(seen.seconds, 3),
        tokens=_tokens(definitions),
    )


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


# For people


def shown(report: Report) -> Iterator[str]:
    """The report as lines of text."""
    if report.error is not None:
        yield f"unusable  {report.error}"
        return
    yield f"{report.config}: {_counted('enabled server', len(report.servers))}{_off(report.switched_off)}"
    for server in report.servers:
        yield ""
        yield f"{server.name}  {printable(server.description)}"
        yield f"  {server.transport}  {printable(server.runs)}"
        for what, table in (("env", server.env), ("header", server.headers)):
            for name, value in table.items():
                yield f"  {what}  {printable(name)}={printable(value)}"
        if len(server.features) < 3:
            yield f"  uses only {', '.join(server.features) or 'nothing'}"
        if server.connected is not None:
            yield from (f"  {line}" for line in _about(server.connected))
    if report.warnings:
        yield ""
        yield from (f"warning  {warning}" for warning in report.warnings)
    if all(server.connected is None for server in report.servers):
        yield ""
        yield "No server was started; --connect starts each once and shows what it has."
    elif report.tokens_direct is not None:
        yield ""
        yield (
            f"In the client's context: about {report.tokens_proxy} tokens with the proxy, "
            f"{report.tokens_direct} with these servers side by side ({CHARACTERS_PER_TOKEN} characters are one token)."
        )


def _counted(what: str, number: int) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _off(names: list[str]) -> str:
    return f", {len(names)} switched off ({', '.join(map(printable, names))})" if names else ""


def _about(seen: Connected) -> Iterator[str]:
    if not seen.ok:
        yield f"FAILED  {printable(seen.failure)}"
        if seen.remedy:
            yield f"try  {printable(seen.remedy)}"
        yield from (f"  {printable(line)}" for line in seen.stderr.splitlines()[-5:])
        return
    name = f"{printable(seen.name)} {printable(seen.version)}".strip() or "it"
    kinds = (
        ("tool", seen.tools),
        ("resource", seen.resources + seen.resource_templates),
        ("prompt", seen.prompts),
    )
    has = ", ".join(_counted(kind, number) for kind, number in kinds if number) or "nothing"
    yield f"ok  {name}, protocol {seen.protocol}: {has}; {seen.seconds:.1f} s; about {seen.tokens} tokens"


#: What starts a line that stays in one piece, so that it can be copied.
_WHOLE = ("stdio", "http", "sse", "env", "header", "try")


def fitted(line: str, width: int | None) -> list[str]:
    """The line as rows of a terminal, the later ones below the text of the first; None = this is no terminal."""
    label = re.match(r" *(\S+)  ", line)
    if width is None or len(line) <= width or (label is not None and label[1] in _WHOLE):
        return [line]
    below = " " * (len(line) - len(line.lstrip()) if label is None else label.end())
    return textwrap.wrap(
        line, max(width, 40), subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )


def printable(text: str) -> str:
    """One line that does nothing to a terminal, whoever wrote it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
