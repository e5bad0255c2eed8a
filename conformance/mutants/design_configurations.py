"""Legitimate designs: another form of the configuration file, and one server on the command line in place of a file."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from conformance.mutants import legitimate, replace
from conformance.mutants.design_faces import show_flat
from dynamic_mcp.config import load
from dynamic_mcp.errors import ConfigError, UpstreamFailed
from dynamic_mcp.upstream.http.connector import HttpConnector
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream

_RENAMED = """
[config]
servers = "mcp.servers"
rename = { url = "serverUrl", headers = "request.headers", type = "transport", oauth_client_id = "auth.clientId" }
drop = ["description"]
units = "milliseconds"
variables = false
reload = false
"""
#: the members of a server that the documents of dynamic-mcp do not have
_BEYOND = ("cwd", "tools", "security", "oauth")
_SINGLE = """
face = "flat"
tokens.place = "~/.dynamic-mcp/oauth-servers/*.json"
[single]
command = ["{options}", "--", "{command}"]
http = ["{url}", "{options}"]
sse = ["{url}", "--sse", "{options}"]
header = ["--header", "{name}: {value}"]
env = ["--env", "{name}={value}"]
client = ["--client", "{client_id}"]
"""
_NO_URLS = """
[absent]
HTTP = "it starts stdio servers only"
SSE = "it starts stdio servers only"
OAUTH = "it starts stdio servers only"
TOK = "it starts stdio servers only"
"""
_OLDER = """
[absent]
HTTP = "it has the HTTP+SSE of MCP 2024-11-05 alone"
OAUTH = "it signs in nowhere"
TOK = "it keeps no tokens"
"""
_TRANSPORTS = ("STD-001", "STD-010", "STD-021", "HTTP-001", "HTTP-007", "SSE-001", "OAUTH-001", "OAUTH-017")


@legitimate(
    *_TRANSPORTS,
    "FRONT-013",
    "FRONT-014",
    "OPS-002",
    "OPS-011",
    "SEC-001",
    "SEC-009",
    "STD-006",
    profile=_RENAMED,
)
def has_a_configuration_of_its_own() -> None:
    """The servers have another place, members have other names, and timeouts are numbers of milliseconds."""
    parse = load.parse

    def translated(data: bytes, *arguments: Any) -> Any:
        try:
            servers = json.loads(data)["mcp"]["servers"]
        except ValueError:
            return parse(data, *arguments)  # which says what is wrong
        entries = {name: _entry(name, given) for name, given in servers.items()}
        return parse(json.dumps({"mcpServers": entries}).encode(), *arguments)

    replace(parse, translated)


def _entry(name: str, given: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"description": f"The server {name}"}
    for member, value in given.items():
        match member:
            case "serverUrl":
                entry["url"] = value
            case "request":
                entry |= value
            case "timeout":
                entry["timeout"] = {"tools": f"{value}ms"}
            case "transport":
                entry["type"] = value
            case "auth":
                entry["oauth_client_id"] = value["clientId"]
            case _:
                entry[member] = value
    return entry


@legitimate(
    *_TRANSPORTS,
    *("FRONT-003", "FRONT-013", "FRONT-014", "FRONT-025", "FRONT-075", "HTTP-016", "OPS-002", "OPS-016"),
    *("SEC-001", "SEC-004", "SEC-009", "SEC-015", "SEC-023", "STD-006", "TOK-004"),
    profile=_SINGLE,
)
def gets_its_one_server_on_the_command_line() -> None:
    """Its tools have their own names, and the place of the tokens depends on the address of the server."""
    show_flat(lambda group, tool: tool)
    words = sys.argv[2:]
    command = words[words.index("--") + 1 :] if "--" in words else []
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?")
    parser.add_argument("--sse", action="store_true")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--client")
    options = parser.parse_args(words[: words.index("--")] if command else words)
    entry: dict[str, Any] = {"description": "The only server"}
    if command:
        entry |= {"command": command[0], "args": command[1:], "env": _pairs(options.env, "=")}
    else:
        entry |= {"url": options.url, "headers": _pairs(options.header, ": ")}
        entry |= {"type": "sse"} if options.sse else {}
        entry |= {"oauth_client_id": options.client} if options.client else {}
    name = hashlib.sha256((options.url or "").encode()).hexdigest()[:8]
    folder = Path(tempfile.mkdtemp())
    file = folder / "config.json"
    file.write_text(json.dumps({"mcpServers": {name: entry}}))
    file.chmod(0o600)
    sys.argv[2:] = [str(file)]


@legitimate(
    *("CFG", "FRONT-066", "FRONT-067", "HARD", "OAUTH-001", "OAUTH-070"),
    profile=f"[config]\ndrop = {list(_BEYOND)}",
)
def refuses_members_beyond_the_documents() -> None:
    """A strict reader of the configuration does not start with a member that only the bundled proxy has."""
    parse = load.parse

    def strict(data: bytes, origin: str, *arguments: Any, **options: Any) -> Any:
        config = parse(data, origin, *arguments, **options)
        content = json.loads(data)
        for entry in (content, *content["mcpServers"].values()):
            for member in _BEYOND:
                if member in entry:
                    raise ConfigError(f"{origin}: unknown field {member!r}")
        return config

    replace(parse, strict)


def _pairs(given: list[str], separator: str) -> dict[str, str]:
    return {name: value for name, _, value in (one.partition(separator) for one in given)}


@legitimate(
    *("CFG-005", "CFG-011", "CFG-014", "CFG-015", "HARD-005", "HARD-009", "OPS-005", "OPS-006"),
    *("SEC-001", "SEC-010", "SEC-016", "SEC-024", "SEC-026"),
    profile=_NO_URLS,
)
def starts_stdio_servers_only() -> None:
    def refuse(self: HttpConnector, events: Any) -> Any:
        raise UpstreamFailed("it has no place for a server behind a URL")

    replace(HttpConnector.connect, refuse)


@legitimate(*("SEC-004", "SEC-005", "SEC-009", "SEC-020", "SEC-023"), profile=_OLDER)
def reaches_servers_by_the_older_transport_alone() -> None:
    """HTTP+SSE of MCP 2024-11-05."""
    connect = HttpConnector.connect

    def refuse(self: HttpConnector, events: Any) -> Any:
        upstream = connect(self, events)
        if not isinstance(upstream, SseUpstream):
            raise UpstreamFailed("it has no Streamable HTTP")
        return upstream

    replace(connect, refuse)
