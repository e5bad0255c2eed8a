"""One look at a server, for the commands that people use: connect, ask what it has, disconnect.

It is what a group does at its start, with the same limits, but nothing is tried again and nobody signs in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import Config, Server
from dynamic_mcp.errors import SignInNeeded, UpstreamError, UpstreamFailed
from dynamic_mcp.groups.group import CONNECT_BUDGET
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Kind, Listing, list_all
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol import era
from dynamic_mcp.server import connector, plug_in
from dynamic_mcp.upstream.base import Handshake, NullEvents, Options

#: Listings of a feature that is switched off are not asked for.
KINDS = (TOOLS, RESOURCES, TEMPLATES, PROMPTS)


class ProbeResult(msgspec.Struct):
    """What a server showed of itself."""

    #: what it calls itself, with its version; empty when it did not say
    title: str = ""
    version: str = ""
    instructions: str = ""
    #: the protocol version that was agreed on
    protocol: str = ""
    listings: dict[Kind, Listing] = {}
    #: seconds from the start to the last listing
    seconds: float = 0.0
    #: why it cannot be used, and what it wrote last; empty when it can
    failure: str = ""
    stderr_tail: str = ""
    needs_sign_in: bool = False


async def look(server: Server, guard: Guard, *, kinds: Sequence[Kind] = KINDS) -> ProbeResult:
    """Connect to a server once and list these kinds. Never raises for what the server does: ``ProbeResult.failure`` says it."""
    seen, began = ProbeResult(), time.monotonic()
    connections = connector(server, guard, plug_in(Config(()), guard))
    upstream = connections.connect(NullEvents())
    try:
        with anyio.fail_after(CONNECT_BUDGET):
            await upstream.open(CONNECT_BUDGET)
            _introduce(seen, upstream.agreed, modern=upstream.modern)
            for kind in kinds:
                if getattr(server.features, kind.feature):
                    seen.listings[kind] = await list_all(upstream, kind, Options(CONNECT_BUDGET))
    except TimeoutError:
        seen.failure = f"it did not finish its start within {CONNECT_BUDGET:g} s"
    except SignInNeeded:
        seen.failure, seen.needs_sign_in = "it wants you to sign in", True
    except UpstreamError as error:
        seen.failure = str(error)
        seen.stderr_tail = error.stderr_tail if isinstance(error, UpstreamFailed) else ""
    finally:
        if seen.failure:
            seen.stderr_tail = seen.stderr_tail or upstream.stderr_tail()
        await upstream.close()
        await connections.close()
    seen.seconds = time.monotonic() - began
    return seen


def _introduce(seen: ProbeResult, agreed: Handshake, *, modern: bool) -> None:
    seen.protocol = era.MODERN if modern else agreed.version
    seen.instructions = _text(agreed.instructions)
    info = _members(agreed.server_info) or _members(_members(agreed.meta).get(era.SERVER_INFO, Raw(b"")))
    seen.title = _text(info.get("title", Raw(b""))) or _text(info.get("name", Raw(b"")))
    seen.version = _text(info.get("version", Raw(b"")))


def _text(raw: Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""


def _members(raw: Raw) -> dict[str, Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.DecodeError:
        return {}
