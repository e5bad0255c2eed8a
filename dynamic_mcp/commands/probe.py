"""One short connection to a server, for the commands: connect, list what it offers, disconnect.

It is like the start of a group, with the same limits, but without retries and sign-ins.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import Config, Server
from dynamic_mcp.errors import SignInNeeded, UpstreamError, UpstreamFailed
from dynamic_mcp.groups.listing import (
    PROMPTS,
    RESOURCES,
    TEMPLATES,
    TOOLS,
    Kind,
    Listing,
    list_all,
    report_cut,
)
from dynamic_mcp.groups.tool_filter import ToolFilter
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.jsonrpc import decode_members
from dynamic_mcp.server import connector, plug_in
from dynamic_mcp.upstream.base import Handshake, NullEvents, not_started_within

KINDS = (TOOLS, RESOURCES, TEMPLATES, PROMPTS)


class ProbeResult(msgspec.Struct):
    """What a server offers, or why it failed."""

    #: the name and version that the server gives; empty without
    title: str = ""
    version: str = ""
    instructions: str = ""
    #: the negotiated protocol version
    protocol: str = ""
    listings: dict[Kind, Listing] = {}
    #: seconds from the start to the last listing
    seconds: float = 0.0
    #: why it failed, and its last output; empty without a failure
    failure: str = ""
    last_output: str = ""
    needs_sign_in: bool = False


async def probe_server(server: Server, guard: Guard, *, kinds: Sequence[Kind] = KINDS) -> ProbeResult:
    """Connect to a server once, and list these kinds if its features are on. ``ProbeResult.failure`` has any error."""
    result, began, limit = ProbeResult(), time.monotonic(), server.timeouts.start
    connections = connector(server, guard, plug_in(Config(()), guard))
    upstream = connections.connect(NullEvents())
    try:
        async with connections.turn(lambda: False):
            with anyio.fail_after(limit):
                await upstream.open(limit)
                _add_handshake(result, upstream.agreed, modern=upstream.modern)
                for kind in kinds:
                    if getattr(server.features, kind.feature):
                        listing = result.listings[kind] = await list_all(upstream, kind, limit)
                        if listing.cut:
                            report_cut(server.name, kind, listing)
                        if kind is TOOLS:
                            tools = ToolFilter(server.name, server.tools)
                            result.listings[kind] = await tools.prepare(listing)
    except TimeoutError:
        result.failure = not_started_within(limit)
    except SignInNeeded as need:
        result.failure, result.needs_sign_in = "it needs you to sign in", True
        result.last_output = need.last_output
    except UpstreamError as error:
        result.failure = str(error)
        result.last_output = error.last_output if isinstance(error, UpstreamFailed) else ""
    finally:
        if result.failure:
            words = result.last_output or upstream.stderr_tail()
            result.last_output = words and server.transport.hidden().end_of(words)
        await upstream.close()
        await connections.close()
    result.seconds = time.monotonic() - began
    return result


def _add_handshake(result: ProbeResult, agreed: Handshake, *, modern: bool) -> None:
    result.protocol = era.MODERN if modern else agreed.version
    result.instructions = _text(agreed.instructions)
    info = _members(agreed.server_info) or _members(_members(agreed.meta).get(era.SERVER_INFO, Raw(b"")))
    result.title = _text(info.get("title", Raw(b""))) or _text(info.get("name", Raw(b"")))
    result.version = _text(info.get("version", Raw(b"")))


def _text(raw: Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""


def _members(raw: Raw) -> dict[str, Raw]:
    try:
        return decode_members(raw)
    except msgspec.DecodeError:
        return {}
