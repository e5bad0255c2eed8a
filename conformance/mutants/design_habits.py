"""Legitimate designs: where tokens lie, what the log says, and other habits of a proxy."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from conformance.mutants import legitimate, replace, set_constant, wire
from conformance.mutants.other_words import saying
from dynamic_mcp import log
from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.oauth import store
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import Tokens
from dynamic_mcp.protocol import era, versions
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake

_TOKENS = (
    *(f"TOK-{number:03}" for number in (1, 2, 3, 4, 9, 10, 13, 17, 18, 20)),
    *("SEC-003", "HARD-001"),
)


@legitimate(*_TOKENS, "TOK-021", profile='tokens.place = "~/.config/other-proxy/tokens/{server}.store"')
def keeps_tokens_elsewhere() -> None:
    right = FileStore.__init__

    def wrong(self: FileStore, server: str, directory: Path | None = None, slot: str = "") -> None:
        right(self, server, directory, slot)
        self.path = self.path.with_suffix(".store")

    replace(store.default_directory, lambda: Path.home() / ".config" / "other-proxy" / "tokens")
    replace(right, wrong)


@legitimate(*_TOKENS, profile='tokens.place = "~/.other-proxy/tokens/{server}.json"')
def keeps_expiries_in_milliseconds() -> None:
    """The members have other names, too."""
    names = {"access_token": "accessToken", "refresh_token": "refreshToken", "expires_at": "expiresAt"}
    encode, decode = msgspec.json.encode, store.decode_tokens

    def other(value: Any) -> bytes:
        if not isinstance(value, Tokens):
            return encode(value)
        members = msgspec.to_builtins(value)
        if "expires_at" in members:
            members["expires_at"] = int(datetime.fromisoformat(members["expires_at"]).timestamp() * 1000)
        return encode({names.get(name, name): value for name, value in members.items()})

    def usual(data: bytes | str, server: str, what: str) -> Tokens | None:
        try:
            members = json.loads(data)
            members = {name: members.get(names.get(name, name)) for name in {*names, *members}}
            if (end := members.get("expires_at")) is not None:
                members["expires_at"] = datetime.fromtimestamp(end / 1000).astimezone().isoformat()
            data = encode({name: value for name, value in members.items() if value is not None})
        except (ValueError, AttributeError):
            pass
        return decode(data, server, what)

    class Json:
        encode, format = staticmethod(other), staticmethod(msgspec.json.format)
        decode = staticmethod(msgspec.json.decode)

    class Library:
        json = Json
        DecodeError = msgspec.DecodeError

    replace(store.default_directory, lambda: Path.home() / ".other-proxy" / "tokens")
    setattr(store, "msgspec", Library)  # noqa: B010 - the name is not exported
    replace(decode, usual)


@legitimate(*(f"TOK-{number:03}" for number in (8, 9, 10, 15, 41)), "SEC-002")
def keeps_tokens_in_memory_alone() -> None:
    """After a restart the user signs in again."""
    kept: dict[Path, Tokens] = {}
    replace(FileStore.load, lambda self: kept.get(self.path))
    replace(FileStore.save, lambda self, tokens: kept.update({self.path: tokens}))


@legitimate("OPS-009", "SEC-001", "SEC-014", "FRONT-004", profile='log_switch = { DEBUG = "proxy:*" }')
def has_another_switch_for_its_log() -> None:
    replace(log.level_from, lambda environment: logging.DEBUG if "DEBUG" in environment else logging.WARNING)


@legitimate(
    *(
        "FRONT-001",
        "FRONT-002",
        "FRONT-018",
        "FRONT-028",
        "FRONT-031",
        "FRONT-050",
        "FRONT-070",
        "FRONT-101",
        "FRONT-168",
        "FRONT-169",
        "FRONT-170",
        "STD-022",
        "STD-050",
        "HTTP-011",
        "HTTP-012",
        "HTTP-023",
    ),
    profile='revisions = ["2025-06-18", "2025-11-25"]',
)
def speaks_the_last_two_legacy_revisions_only() -> None:
    """To its client and to its servers. Other versions of a server end the connection."""
    two = versions.LEGACY_VERSIONS[-2:]
    set_constant(versions, "LEGACY_VERSIONS", two)

    async def no_probe(peer: Peer, client_info: bytes = b"", timeout: float | None = None) -> None:
        return None

    replace(handshake.probe, no_probe)
    replace(era.request_meta, lambda params: None)
    wire.from_client(_unknown_discovery)


def _unknown_discovery(message: wire.Message, way: wire.Way) -> wire.Changed:
    return {**message, "method": "unknown"} if message.get("method") == "server/discover" else message


@legitimate("FRONT-016", "OPS-007")
def says_command_not_found() -> None:
    """In the words of a shell."""
    wire.to_client(saying("No such file or directory", "command not found"))


@legitimate(passes=("FRONT-061",))
def asks_for_credentials_after_a_401() -> None:
    """Its error names no member of the configuration."""
    wire.to_client(saying("its 'headers' may lack a token or a key", "check the credentials of this server"))


@legitimate("STD-015", "STD-014", "HTTP-018", "FRONT-007", "STD-013", "STD-042")
def sends_text_as_ids_to_servers() -> None:
    wire.to_stdio_upstreams(_with_text_ids)
    wire.from_stdio_upstreams(_with_number_ids)


def _with_text_ids(message: wire.Message, way: wire.Way) -> wire.Changed:
    params = message.get("params")
    if message.get("method") == "notifications/cancelled" and isinstance(params, dict):
        return {**message, "params": {**params, "requestId": f"request-{params['requestId']}"}}
    return {**message, "id": f"request-{message['id']}"} if {"id", "method"} <= message.keys() else message


def _with_number_ids(message: wire.Message, way: wire.Way) -> wire.Changed:
    id = message.get("id")
    if "method" in message:
        return message
    if isinstance(id, str) and re.fullmatch(r"request-\d+", id):
        return {**message, "id": int(id.removeprefix("request-"))}
    # A number as an id does not belong to a request with a text.
    return {**message, "id": f"unknown-{id}"} if isinstance(id, int) else message


@legitimate("FRONT-003", "FRONT-001", "FRONT-025", "FRONT-004")
def declares_more_than_its_servers_offer() -> None:
    """Also an experimental capability of its own."""
    right = tool_surface.capabilities

    def more(*, resources: bool, prompts: bool, legacy: bool) -> dict[str, object]:
        found = right(resources=True, prompts=True, legacy=legacy)
        return {**found, "experimental": {"example.invalid/own": {}}}

    replace(right, more)


@legitimate("FRONT-004", "FRONT-006", "FRONT-008", "FRONT-025", "STD-004")
def says_something_of_its_own_to_its_client() -> None:
    """After each listing: a log message that is not an upstream's, and a ping."""

    def wrong(message: wire.Message, way: wire.Way) -> wire.Changed:
        if way.method_of(message) != "tools/list" or "result" not in message:
            return message
        ping = {"jsonrpc": "2.0", "id": f"own-{message['id']}", "method": "ping"}
        note = {"level": "info", "logger": "the-proxy", "data": "the groups were listed"}
        said = {"jsonrpc": "2.0", "method": "notifications/message", "params": note}
        return [message, said] if wire.is_modern(way.request_of(message)) else [message, said, ping]

    wire.to_client(wrong)


@legitimate("FRONT-016", "OPS-007", "OPS-009", "SEC-004", "CFG-011", "STD-009")
def has_a_runtime_that_warns() -> None:
    """On stderr, before everything else."""
    for number in range(40):
        print(
            f"(runtime:{number}) ExperimentalWarning: this feature might change at any time", file=sys.stderr
        )


@legitimate(
    "FRONT-016",
    "CFG-001",
    "CFG-003",
    "CFG-005",
    "CFG-006",
    "CFG-007",
    "CFG-008",
    "CFG-011",
    "OPS-001",
    "OPS-007",
    "OPS-010",
    "SEC-001",
    "SEC-004",
    "SEC-014",
    "STD-006",
    "STD-009",
    "OAUTH-022",
)
def says_nothing_while_it_serves() -> None:
    """stderr has only warnings about the configuration at the start, and why a start failed."""
    right = log.configure

    def configure(level: str | None = None) -> None:
        right(level)
        log.log.setLevel(max(log.log.level, logging.WARNING))
        log.log.addFilter(lambda record: "environment variable" in record.getMessage())

    replace(right, configure)


@legitimate(
    "FRONT-001",
    "FRONT-002",
    "FRONT-004",
    "FRONT-005",
    "FRONT-016",
    "FRONT-027",
    "CFG-003",
    "CFG-004",
    "OPS-001",
    "OPS-002",
    "OPS-004",
    "OPS-010",
    "OPS-016",
)
def answers_initialize_after_two_seconds() -> None:
    """It answers everything else at once."""

    def late(message: wire.Message, way: wire.Way) -> wire.Changed:
        if way.method_of(message) != "initialize" or message.get("id") in sent:
            return message
        sent.add(message["id"])
        wire.later(2.0, way.send, message)
        return None

    sent: set[Any] = set()
    wire.to_client(late)
