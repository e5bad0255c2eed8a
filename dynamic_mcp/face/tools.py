"""The two tools: what they look like, and what they do.

The surface depends on the configuration alone, never on the health or speed of an upstream, so that a client's prompt cache survives:
enabled groups in the order of the file, with the descriptions of the file. Health and help are in the results. A result of an
upstream tool, and the definition of one, are the bytes that the upstream sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed
from dynamic_mcp.groups import Group
from dynamic_mcp.protocol import era, jsonrpc

GET = "get_dynamic_tools"
CALL = "call_dynamic_tool"


class BadArguments(Exception):
    """The client's call cannot be understood; the message says what is wrong, for a JSON-RPC -32602."""


class _GetArguments(msgspec.Struct):
    group: str


class _CallArguments(msgspec.Struct):
    group: str
    name: str
    args: Raw = Raw(b"")


_decode_get = msgspec.json.Decoder(_GetArguments).decode
_decode_call = msgspec.json.Decoder(_CallArguments).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Toolbox:
    """The two tools over a fixed set of groups."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = {group.name: group for group in groups}
        #: the ``tools`` array of ``tools/list``, encoded once
        self.surface = msgspec.json.encode(self._definitions())

    def _definitions(self) -> list[dict[str, object]]:
        names = list(self._groups)
        listed = "\n".join(f"- {group.name}: {group.server.description}" for group in self._groups.values())
        group = {"type": "string", "enum": names}
        return [
            {
                "name": GET,
                "description": "Many MCP servers stand behind this one, each as a group of tools. This tool returns the complete "
                "tool definitions of one group, so that only the schemas you need take up context. "
                f"Call a tool of the group with {CALL}.\n\nAvailable groups:\n{listed}",
                "inputSchema": {
                    "type": "object",
                    "properties": {"group": {**group, "description": "The group whose tools to return"}},
                    "required": ["group"],
                },
            },
            {
                "name": CALL,
                "description": f"Call one tool of a group. Use {GET} first to learn the group's tools and their input schemas."
                f'\n\nExample: {CALL}(group="playwright", name="browser_navigate", '
                'args={"url": "https://example.com"})',
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "group": {**group, "description": "The group that has the tool"},
                        "name": {"type": "string", "description": "The name of the tool to call"},
                        "args": {
                            "type": "object",
                            "description": "The arguments for the tool, as its input schema says",
                            "additionalProperties": True,
                        },
                    },
                    "required": ["group", "name"],
                },
            },
        ]

    async def run(self, tool: str, arguments: Raw, meta: Raw) -> bytes:
        """The result of calling one of the two tools. Raises BadArguments; UpstreamRefused passes through."""
        if tool == CALL:
            return await self._call(arguments, meta)
        if tool == GET:
            return await self._get(arguments)
        raise BadArguments(f"Unknown tool: {tool}. This server has {GET} and {CALL}.")

    async def _get(self, arguments: Raw) -> bytes:
        try:
            name = _decode_get(arguments or b"{}").group
        except msgspec.ValidationError as error:
            raise BadArguments(_argument_problem(GET, error)) from None
        group = self._groups.get(name)
        if group is None:
            return failure(self._unknown_group(name))
        if not group.server.features.tools:
            return failure(_tools_are_off(group))
        try:
            listing = await group.listing()
        except UpstreamFailed as error:
            return failure(_not_available(group, error))
        return text_result("[" + ",".join(bytes(raw).decode() for raw in listing.tools.values()) + "]")

    async def _call(self, arguments: Raw, meta: Raw) -> bytes:
        try:
            wanted = _decode_call(arguments or b"{}")
        except msgspec.ValidationError as error:
            raise BadArguments(_argument_problem(CALL, error)) from None
        group = self._groups.get(wanted.group)
        if group is None:
            return failure(self._unknown_group(wanted.group))
        if not group.server.features.tools:
            return failure(_tools_are_off(group))
        args = _as_object(wanted.args)
        if args is None:
            raise BadArguments(f'{CALL}: "args" must be an object with the arguments of {wanted.name!r}')
        timeout = group.server.timeouts.tools
        try:
            upstream = await group.connected()
            listing = await group.listing()
            if wanted.name not in listing.tools:
                return failure(_unknown_tool(group, wanted.name, listing.tools))
            params = b'{"name":%b,"arguments":%b}' % (msgspec.json.encode(wanted.name), args)
            if meta and bytes(meta) != jsonrpc.NULL:
                params = _with_meta(params, meta)
            return await upstream.request("tools/call", params, timeout)
        except UpstreamFailed as error:
            return failure(_not_available(group, error))

    def _unknown_group(self, name: str) -> str:
        return f"Unknown group {name!r}.{_nearest(name, self._groups)} Groups: {_names(self._groups)}."


def text_result(text: str) -> bytes:
    """A tool result that is one block of text."""
    return msgspec.json.encode({"content": [{"type": "text", "text": text}]})


def failure(text: str) -> bytes:
    """A tool result that reports a failure to the model (MCP tools, "Error Handling": ``isError`` on the result)."""
    return msgspec.json.encode({"content": [{"type": "text", "text": text}], "isError": True})


def explain(error: UpstreamError) -> bytes:
    """The result for a call that the upstream did not answer."""
    return failure(f"The call failed: {error}.")


def _as_object(args: Raw) -> bytes | None:
    """The arguments as a JSON object; models at times wrap them in a string. None where there is no object to find."""
    if not args or bytes(args) == jsonrpc.NULL:
        return b"{}"
    if bytes(args)[:1] == b"{":
        return bytes(args)
    if bytes(args)[:1] == b'"':
        inner = msgspec.json.decode(args, type=str).strip().encode()
        try:
            _decode_members(inner)
        except msgspec.DecodeError:
            return None
        return inner
    return None


def _with_meta(params: bytes, meta: Raw) -> bytes:
    """Add the client's ``_meta``, without the keys that belong to its own hop."""
    try:
        given = _decode_members(meta)
    except msgspec.ValidationError:
        raise BadArguments('tools/call: "_meta" must be an object') from None
    kept = {name: raw for name, raw in given.items() if name not in era.HOP_KEYS}
    # The progress token is our client's: it may collide with another client's on a shared upstream.
    kept.pop("progressToken", None)
    return era.with_members(params, _meta=msgspec.json.encode(kept)) if kept else params


def _argument_problem(tool: str, error: msgspec.ValidationError) -> str:
    needed = "group" if tool == GET else "group, name and optionally args"
    return f"{tool}: {error}. It takes {needed}."


def _tools_are_off(group: Group) -> str:
    return (
        f"The tools of group {group.name!r} are switched off in the configuration (features.tools is false)."
    )


def _not_available(group: Group, error: UpstreamFailed) -> str:
    text = f"Group {group.name!r} is not available: {error}. Other groups are not affected."
    return f"{text}\nWhat the server said last:\n{error.last_words}" if error.last_words else text


def _unknown_tool(group: Group, name: str, tools: Iterable[str]) -> str:
    return f"Group {group.name!r} has no tool {name!r}.{_nearest(name, tools)} Tools: {_names(tools)}."


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _names(known: Iterable[str]) -> str:
    names = list(known)
    shown = ", ".join(names[:30]) or "none"
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")
