"""Legitimate designs: a flat face, where each tool of a server is a tool of the proxy."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw

from conformance.mutants import legitimate, replace, wire
from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.exchange import elicit_by_request, elicit_by_result
from dynamic_mcp.frontend.router import Router
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.listing import TOOLS
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal
from dynamic_mcp.upstream.http import connector
from dynamic_mcp.wording import cut

#: the checks that list, call and watch tools in each of the ways that a face can have
_USERS = (
    "FRONT-003",
    "FRONT-007",
    "FRONT-010",
    "FRONT-011",
    "FRONT-012",
    "FRONT-013",
    "FRONT-014",
    "FRONT-015",
    "FRONT-022",
    "FRONT-024",
    "FRONT-029",
    "FRONT-049",
    "FRONT-181",
    "HTTP-001",
    "OPS-002",
    "OPS-011",
    "STD-006",
    "STD-010",
    "STD-013",
    "STD-021",
)


@legitimate(*_USERS, profile='face = "flat"\ntool = "{server}_{tool}"')
def shows_each_tool_with_its_server_first() -> None:
    show_flat(lambda group, tool: f"{group}_{tool}")


@legitimate(*_USERS, profile='face = "flat"')
def shows_each_tool_under_a_name_of_its_own_making() -> None:
    """The profile does not say how the names are made, so the checks learn them from the list."""
    show_flat(lambda group, tool: f"mcp.{tool}@{group}")


@legitimate(*_USERS, "OPS-025", "OPS-045", "OPS-047", profile='face = "flat"', passes=("FRONT-016",))
def shows_each_tool_under_a_name_with_a_hash_beside_a_tool_of_its_own() -> None:
    """The description of a tool names its server. No pattern describes the names, and the own tool has a similar one."""

    def hashed(group: str, tool: str) -> str:
        return f"t_{zlib.crc32(f'{group} {tool}'.encode()):08x}_{tool}"

    def described(group: str, members: dict[str, Raw]) -> dict[str, Raw]:
        text = msgspec.json.decode(members.get("description", Raw(b'""')))
        return {**members, "description": Raw(msgspec.json.encode(f"[{group}] {text}"))}

    own = {"name": "say_echo", "description": "Says it again", "inputSchema": {"type": "object"}}
    show_flat(hashed, described)
    wire.to_client(wire.results_of("tools/list", lambda result: {**result, "tools": [own, *result["tools"]]}))


@legitimate("FRONT-003", "FRONT-022", profile='face = "flat"\n\n[config]\nreload = false')
def announces_new_tools_before_the_answer_to_the_call_that_made_them() -> None:
    """MCP sets no order of a notification and an answer. The design announces no change of the configuration."""
    show_flat(lambda group, tool: f"{tool}.of.{group}")
    without_changes = tool_surface.capabilities
    replace(without_changes, lambda **kinds: {**without_changes(**kinds), "tools": {"listChanged": True}})
    told = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}

    def announced(message: wire.Message, way: wire.Way) -> wire.Changed:
        if message.get("method") == told["method"]:
            return None
        is_of_a_call = way.method_of(message) == "tools/call" and "result" in message
        return [told, message] if is_of_a_call else message

    wire.to_client(announced)


def show_flat(
    name_of: Callable[[str, str], str],
    described: Callable[[str, dict[str, Raw]], dict[str, Raw]] = lambda group, members: members,
) -> None:
    """The design announces no change of its tools. It signs in at its start, because a list of all tools is about no group."""
    # Private, because the reference has two tools, and lists no others.
    fitting, run, handlers = Catalog._fitting, Toolbox.run, Frontend._handlers
    declared = tool_surface.capabilities
    listed: dict[str, tuple[str, str]] = {}
    legacy_route, modern_route = Router._route_legacy, Router._route_modern

    def renamed(self: Catalog, kind: Any, listings: Any) -> Any:
        shown = fitting(self, kind, listings)
        if kind is not TOOLS:
            return shown
        return [(group, with_names(group.name, listing)) for group, listing in shown]

    def with_names(group: str, listing: Any) -> dict[str, Raw]:
        found = {}
        for own, definition in (listing or {}).items():
            members = msgspec.json.decode(definition, type=dict[str, Raw])
            name = name_of(group, own)
            listed[name] = group, own
            found[own] = Raw(
                msgspec.json.encode({**described(group, members), "name": Raw(msgspec.json.encode(name))})
            )
        return found

    async def run_own(self: Toolbox, call: Any) -> bytes:
        asked = call.read("name", str)
        group, own = listed.get(asked) or by_prefix(asked, self._groups)
        arguments = {"group": group, "name": own, "args": call.members.get("arguments", Raw(b"{}"))}
        call.members |= {
            "name": Raw(msgspec.json.encode(CALL)),
            "arguments": Raw(msgspec.json.encode(arguments)),
        }
        return await run(self, call)

    def by_prefix(asked: str, groups: Iterable[str]) -> tuple[str, str]:
        for group in groups:
            before, _, after = name_of(group, "\0").partition("\0")
            if asked.startswith(before) and asked.endswith(after):
                return group, asked[len(before) : len(asked) - len(after)]
        raise Refusal(INVALID_PARAMS, f"Unknown tool: {cut(asked)}")

    def with_a_list(self: Frontend, subscriptions: Any) -> Any:
        async def listed(call: Any) -> bytes:
            return await self._catalog.list_all(TOOLS, call)

        legacy, modern = handlers(self, subscriptions)
        exchanges = self._relay.exchanges
        return (
            {**legacy, "tools/list": (elicit_by_request(listed, self._session), ())},
            {**modern, "tools/list": (elicit_by_result(listed, self._session, exchanges), ())},
        )

    def route_legacy(self: Router, incoming: Any) -> None:
        if incoming.method == "tools/list":
            self._calls.start(incoming, self._handler(self._legacy, "tools/list"))
        else:
            legacy_route(self, incoming)

    def route_modern(self: Router, incoming: Any) -> None:
        if incoming.method == "tools/list":
            self._calls.start(incoming, self._handler(self._modern, "tools/list"))
        else:
            modern_route(self, incoming)

    def without_tool_changes(**kinds: bool) -> dict[str, object]:
        return {**declared(**kinds), "tools": {}}

    replace(connector.HttpConnector.signs_in_at_start, property(lambda self: True))
    replace(declared, without_tool_changes)
    replace(fitting, renamed)
    replace(run, run_own)
    replace(handlers, with_a_list)
    replace(legacy_route, route_legacy)
    replace(modern_route, route_modern)
