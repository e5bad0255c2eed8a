"""The two tools: what they look like, and what they do.

The surface depends on the configuration alone, never on the health or speed of an upstream, so that a client's prompt cache survives:
enabled groups in the order of the file, with the descriptions of the file. Health and help are in the results. A result of an
upstream tool, and the definition of one, are the bytes that the upstream sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import Server
from dynamic_mcp.errors import CallRefused, TooLarge, UpstreamError, UpstreamFailed, UpstreamRefused
from dynamic_mcp.extras.audit import recorded, trail
from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.frontend.call import Call, refuse_cursor
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal

_CALL = "tools/call"


class _ToolParams(msgspec.Struct):
    name: str
    arguments: Raw = Raw(b"")


class _GetArguments(msgspec.Struct):
    group: str
    name: str | None = None
    search: str | None = None


class _CallArguments(msgspec.Struct):
    group: str
    name: str
    args: Raw = Raw(b"")


_decode_get = msgspec.json.Decoder(_GetArguments).decode
_decode_call = msgspec.json.Decoder(_CallArguments).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Toolbox:
    """The two tools over the groups that there are now."""

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self._groups = groups

    @property
    def surface(self) -> bytes:
        """The ``tools`` array of ``tools/list``."""
        return surface_of(group.server for group in self._groups.values())

    def list_tools(self, params: Raw) -> bytes:
        """The result of ``tools/list``. Raises Refusal for a cursor: there is one page."""
        refuse_cursor(params)
        return tool_surface.tool_list(self.surface)

    async def run(self, call: Call) -> bytes:
        """The result of calling one of the two tools. Raises Refusal and UpstreamError."""
        asked = call.read(_ToolParams)
        if asked.name == CALL:
            if trail.is_on:
                return await self._recorded_call(asked.arguments, call)
            return await self._call(asked.arguments, call)
        if asked.name == GET:
            return await self._get(asked.arguments)
        raise Refusal(INVALID_PARAMS, f"Unknown tool: {asked.name}. This server has {GET} and {CALL}.")

    async def _get(self, arguments: Raw) -> bytes:
        try:
            asked = _decode_get(arguments or b"{}")
        except msgspec.ValidationError as error:
            raise _bad_arguments(GET, error) from None
        group = self._groups.get(asked.group)
        if group is None:
            return failure(self._unknown_group(asked.group))
        if not group.has(TOOLS):
            return failure(_tools_are_off(group))
        try:
            listing = await group.listing(TOOLS)
        except UpstreamFailed as error:
            return failure(_not_available(group, error))
        if asked.name is not None and asked.name not in listing:
            return failure(_unknown_tool(group, asked.name, listing))
        chosen = [
            bytes(raw).decode()
            for name, raw in listing.items()
            if asked.name in (None, name) and _is_found(asked.search, name, raw)
        ]
        return text_result("[" + ",".join(chosen) + "]")

    async def _recorded_call(self, arguments: Raw, call: Call) -> bytes:
        """The same as ``_call``, with a line in the audit log."""
        call.is_recorded, call.outcome = True, None
        try:
            wanted = _decode_call(arguments or b"{}")
        except msgspec.ValidationError:
            server, tool, args = None, None, b""
        else:
            server, tool, args = wanted.group, wanted.name, bytes(wanted.args)
        what = {"tool": tool, **trail.arguments(args)}
        return await recorded("call", server, what, lambda: self._call(arguments, call), lambda: call.outcome)

    async def _call(self, arguments: Raw, call: Call) -> bytes:
        try:
            wanted = _decode_call(arguments or b"{}")
        except msgspec.ValidationError as error:
            raise _bad_arguments(CALL, error) from None
        group = self._groups.get(wanted.group)
        if group is None:
            return _refused(call, self._unknown_group(wanted.group))
        if not group.has(TOOLS):
            return _refused(call, _tools_are_off(group))
        args = _as_object(wanted.args)
        if args is None:
            raise Refusal(
                INVALID_PARAMS, f'{CALL}: "args" must be an object with the arguments of {wanted.name!r}'
            )
        call.group = group
        try:
            listing = await group.listing(TOOLS)
            if wanted.name not in listing:
                return _refused(call, _unknown_tool(group, wanted.name, listing))
            params = call.params({"name": Raw(msgspec.json.encode(wanted.name)), "arguments": Raw(args)})
            options = call.options(group.timeout(TOOLS))
            if group.gate is not None:
                return await group.gate.call(
                    wanted.name,
                    listing[wanted.name],
                    args,
                    options,
                    lambda now: group.request(_CALL, params, now),
                )
            return await group.request(_CALL, params, options)
        except CallRefused as refusal:
            return _refused(call, f"The call was not made: {refusal}")
        except UpstreamRefused as refusal:
            # In a later round it is the answers or the state that are refused: the model cannot mend those.
            if refusal.code != INVALID_PARAMS or call.inputs or call.state:
                raise
            return failure(_rejected(refusal, wanted.name, listing[wanted.name]))
        except TooLarge as error:
            call.outcome = "failed"
            return explain(error)
        except UpstreamFailed as error:
            call.outcome = "failed"
            return failure(_not_available(group, error))

    def _unknown_group(self, name: str) -> str:
        return f"Unknown group {name!r}.{_nearest(name, self._groups)} Groups: {_names(self._groups)}."


def surface_of(servers: Iterable[Server]) -> bytes:
    """The definitions of the two tools over these servers: a JSON array."""
    return tool_surface.tools({server.name: server.description for server in servers})


def text_result(text: str) -> bytes:
    """A tool result that is one block of text."""
    return msgspec.json.encode({"content": [{"type": "text", "text": text}]})


def failure(text: str) -> bytes:
    """A tool result that reports a failure to the model (MCP tools, "Error Handling": ``isError`` on the result)."""
    return msgspec.json.encode({"content": [{"type": "text", "text": text}], "isError": True})


def explain(error: UpstreamError) -> bytes:
    """The result for a call that the upstream did not answer."""
    return failure(f"The call failed: {error}.")


def _refused(call: Call, text: str) -> bytes:
    """The result for a call that was not made."""
    call.outcome = "refused"
    return failure(text)


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


def _is_found(search: str | None, name: str, raw: Raw) -> bool:
    """Whether every word of the search is in the tool's name or in one of its texts."""
    if search is None:
        return True
    text = f"{name} {bytes(raw).decode()}".casefold()
    return all(word in text for word in search.casefold().split())


def _bad_arguments(tool: str, error: msgspec.ValidationError) -> Refusal:
    needed = "group, and optionally name or search" if tool == GET else "group, name and optionally args"
    return Refusal(INVALID_PARAMS, f"{tool}: {error}. It takes {needed}.")


def _rejected(refusal: UpstreamRefused, tool: str, definition: Raw) -> str:
    """What an upstream says about arguments that it does not accept, with what it would accept."""
    schema = bytes(_decode_members(definition).get("inputSchema", Raw(b"{}"))).decode()
    return f"The server rejects the arguments of {tool!r}: {refusal.text}\nInput schema of the tool: {schema}"


def _tools_are_off(group: Group) -> str:
    return (
        f"The tools of group {group.name!r} are switched off in the configuration (features.tools is false)."
    )


def _not_available(group: Group, error: UpstreamFailed) -> str:
    text = f"Group {group.name!r} is not available: {error}. Other groups are not affected."
    return f"{text}\nWhat the server said last:\n{error.stderr_tail}" if error.stderr_tail else text


def _unknown_tool(group: Group, name: str, tools: Iterable[str]) -> str:
    return f"Group {group.name!r} has no tool {name!r}.{_nearest(name, tools)} Tools: {_names(tools)}."


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _names(known: Iterable[str]) -> str:
    names = list(known)
    shown = ", ".join(names[:30]) or "none"
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")
