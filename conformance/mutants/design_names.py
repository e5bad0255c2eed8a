"""Legitimate designs: other names for prompts and resources, and a smaller surface."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from conformance.mutants import legitimate, replace, wire
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config, Features
from dynamic_mcp.frontend import catalog, tool_surface
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.owners import owner_by_prefix
from dynamic_mcp.groups.listing import PROMPTS
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal

_WRAPPED = re.compile(r"^dmcp:([^:]*):")
_HASHED = re.compile(r"^gw\+([^:.]*)\.([0-9a-f]{8}):")
#: whether the design that runs takes no bare URI
_only_wrapped: list[bool] = []
#: the checks that use prompts or resources
_USERS = (
    "FRONT-003",
    "FRONT-011",
    "FRONT-014",
    "FRONT-017",
    "FRONT-018",
    "FRONT-019",
    "FRONT-167",
    "FRONT-020",
    "FRONT-021",
    "FRONT-025",
    "FRONT-177",
    "FRONT-180",
    "FRONT-181",
)


@legitimate(*_USERS, "FRONT-022", "FRONT-029", "FRONT-031", "FRONT-169", "OPS-008", "CFG-015")
def puts_the_group_before_each_prompt() -> None:
    """A prompt has no other name."""
    # Private, because the reference gives such a name only to the later one of two prompts.
    right, renamed = Catalog._prompt, catalog._renamed

    def prefixed(self: Catalog, listings: Any) -> Any:
        for group, listing in listings:
            for own, definition in (listing or {}).items():
                yield group, renamed(definition, f"{group.name}/{own}")

    async def only_prefixed(self: Catalog, name: str, call: Any) -> Any:
        if call.group_name() is None and owner_by_prefix(name, self._groups) is None:
            raise Refusal(INVALID_PARAMS, "Unknown prompt")
        return await right(self, name, call)

    replace(Catalog._unambiguous, prefixed)
    replace(right, only_prefixed)


@legitimate(*_USERS, "FRONT-029", "FRONT-031", "FRONT-169", "OPS-008", "SEC-016")
def puts_the_group_before_each_uri() -> None:
    """It also takes the bare URI, because results of tools contain it."""

    def unwrapped(uri: str) -> tuple[str, str] | None:
        found = _WRAPPED.match(uri)
        return (found[1], uri[found.end() :]) if found is not None else None

    _wrap_uris(lambda group, own: f"dmcp:{group}:{own}", unwrapped)


@legitimate(*_USERS, "FRONT-029", "FRONT-031", "FRONT-037", "FRONT-169", "OPS-008", "SEC-016")
def puts_a_hash_of_the_group_into_the_scheme_of_each_uri() -> None:
    """No pattern describes the URIs. It also takes the bare URI."""
    groups: dict[str, str] = {}

    def wrapped(group: str, own: str) -> str:
        mark = f"{zlib.crc32(group.encode()):08x}"
        groups[mark] = group
        scheme, colon, rest = own.partition(":")
        return f"gw+{scheme}.{mark}{colon}{rest}"

    def unwrapped(uri: str) -> tuple[str, str] | None:
        found = _HASHED.match(uri)
        return (groups[found[2]], f"{found[1]}:{uri[found.end() :]}") if found is not None else None

    _wrap_uris(wrapped, unwrapped)


def _wrap_uris(wrap: Callable[[str, str], str], unwrap: Callable[[str], tuple[str, str] | None]) -> None:
    # Private, because nothing public of the reference knows which group an entry of a list comes from.
    right = Catalog._fitting

    def wrapped(self: Catalog, kind: Any, listings: Any) -> Any:
        fitting = right(self, kind, listings)
        if kind is PROMPTS:
            return fitting
        return [(group, _with_uris(group.name, listing, wrap)) for group, listing in fitting]

    def bare(params: Any) -> Any:
        about = params.get("ref") or params
        uri = about.get("uri")
        found = unwrap(uri) if isinstance(uri, str) else None
        if found is None:
            return {**params, "uri": "unknown:"} if _only_wrapped and "ref" not in params else params
        inner = {**about, "uri": found[1]}
        return {**(inner if about is params else {**params, "ref": inner}), "group": found[0]}

    replace(right, wrapped)
    for method in ("resources/read", "resources/subscribe", "resources/unsubscribe", "completion/complete"):
        wire.from_client(wire.params_of(method, bare))


def _with_uris(group: str, listing: Any, wrap: Callable[[str, str], str]) -> dict[str, Raw]:
    found = {}
    for own, definition in (listing or {}).items():
        members = msgspec.json.decode(definition, type=dict[str, Raw])
        key = "uri" if "uri" in members else "uriTemplate"
        found[own] = Raw(msgspec.json.encode({**members, key: wrap(group, own)}))
    return found


@legitimate(*_USERS, "FRONT-029", "FRONT-031", "FRONT-037", "FRONT-169", "OPS-008", "SEC-016")
def takes_only_uris_with_the_group() -> None:
    """A bare URI is unknown. The names of templates carry the group too."""
    _only_wrapped.append(True)
    puts_the_group_before_each_uri()


@legitimate(*_USERS, "FRONT-022", "FRONT-029", "FRONT-031", "FRONT-169", "OPS-008", "CFG-015", "RLD-007")
def passes_on_tools_only() -> None:
    """It declares neither resources nor prompts, and answers their methods with "Method not found"."""
    declared = tool_surface.capabilities

    def tools_only(path: Path, environment: Mapping[str, str]) -> Config:
        config = load(path, environment)
        servers = [
            msgspec.structs.replace(server, features=Features(server.features.tools, False, False))
            for server in config.servers
        ]
        return msgspec.structs.replace(config, servers=tuple(servers))

    replace(load, tools_only)
    replace(
        declared,
        lambda *, resources, prompts, legacy: declared(resources=False, prompts=False, legacy=legacy),
    )
