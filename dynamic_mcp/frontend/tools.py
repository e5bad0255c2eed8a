"""The two tools of the proxy.

Their definitions depend on the configuration alone, never on the state of an upstream, so that the prompt cache of a client stays valid.
They contain the enabled groups in the order of the file, with their descriptions. The results report failures and explain mistakes.
Definitions of an upstream's tools are the bytes that the upstream sent, and so is a result that needs no repair.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import Server
from dynamic_mcp.errors import (
    CallRefused,
    SignInNeeded,
    StillStarting,
    TooLarge,
    UpstreamError,
    UpstreamFailed,
    UpstreamGone,
    UpstreamRefused,
)
from dynamic_mcp.frontend import definitions, tool_surface
from dynamic_mcp.frontend.arguments import CallArguments, find_tool, find_tools, read_call, read_get, readings
from dynamic_mcp.frontend.call import Call, cursor_of, invalid_cursor
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Freshness, Listing, usable
from dynamic_mcp.hooks import Hooks, Subject
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Refusal, decode_members
from dynamic_mcp.wording import MAX_TEXT, cut, name_list

_CALL = "tools/call"
#: The search for a similar name compares names of at most so many characters, and so many of them.
_MAX_COMPARED_LENGTH = 64
_MAX_COMPARED = 300


class Toolbox:
    """The two tools over the current groups."""

    def __init__(self, groups: Mapping[str, Group], hooks: Hooks) -> None:
        self._groups = groups
        self._hooks = hooks

    @property
    def definitions(self) -> bytes:
        """The ``tools`` array of ``tools/list``."""
        return tool_definitions(group.server for group in self._groups.values())

    @property
    def groups(self) -> Iterable[str]:
        """The names of the groups, in the order of the configuration."""
        return self._groups

    def list_tools(self, params: Raw) -> bytes:
        """The result of ``tools/list``. Raises Refusal for a cursor."""
        if cursor_of(params) is not None:
            raise invalid_cursor()
        return tool_surface.tool_list(self.definitions)

    def run(self, call: Call) -> Coroutine[Any, Any, bytes]:
        """The result of a call of one of the two tools. Raises UpstreamError, and Refusal for what is no call of them.

        It returns the coroutine of the tool, because one more around it would cost every call.
        """
        name = call.read("name", str)
        arguments = call.members.get("arguments") or Raw(b"{}")
        if name == CALL:
            return self._watched_call(arguments, call)
        if name == GET:
            return self._get(arguments, call)
        raise Refusal(INVALID_PARAMS, f"Unknown tool: {cut(name)}. This server has {GET} and {CALL}.")

    async def _get(self, arguments: Raw, call: Call) -> bytes:
        try:
            parsed = read_get(arguments, self._groups)
            call.awaited = group = self._group(parsed.group)
            _refuse_switched_off(group, *find_tools(group.name, parsed.names, ()))
            group, upstream = await group.live()
            call.awaited = group
            listing = await group.listing(TOOLS, freshness=Freshness.REQUESTED)
            names = find_tools(group.name, parsed.names, listing)
            if any(name not in listing for name in names):
                listing = await group.listing(TOOLS, freshness=Freshness.RENEWED)
                names = find_tools(group.name, parsed.names, listing)
            usable(listing, TOOLS)
        except CallRefused as refusal:
            return failure(str(refusal))
        except UpstreamFailed as error:
            return failure(_not_available(parsed.group, error))
        if names and not any(name in listing for name in names):
            return failure(_no_tool(group, ", ".join(names), listing))
        instructions = upstream.agreed.instructions
        return await definitions.answer(group, listing, instructions, names, parsed.search)

    async def _watched_call(self, arguments: Raw, call: Call) -> bytes:
        """Call a tool of a group, with the hooks. A failure becomes a result that explains it to the model."""
        call.is_watched = True
        try:
            try:
                parsed = read_call(arguments, self._groups)
            except CallRefused as refusal:
                return await self._hooks.watch(Subject("tool", None, None), partial(_refuse, refusal))
            subject = Subject("tool", parsed.group, parsed.name, parsed.given)
            return await self._hooks.watch(subject, lambda: self._call(parsed, call))
        except CallRefused as refusal:
            return failure(str(refusal))
        except _RejectedArguments as rejection:
            return failure(str(rejection))
        except TooLarge as error:
            return explain_failure(error)
        except UpstreamFailed as error:
            return failure(_call_failed(parsed, error, call.group))

    async def _call(self, parsed: CallArguments, call: Call) -> bytes:
        """Find the tool and call it. Raises CallRefused and UpstreamError."""
        call.group = group = self._group(parsed.group)
        if group.switched_off_by(parsed.name):
            _refuse_switched_off(group, parsed.name)
        # The usual case costs no further coroutine.
        if group.upstream is None:
            group, _ = await group.live()
            call.group = group
        listing = group.certain_listing(TOOLS)
        if listing is None:
            listing = await group.listing(TOOLS, call.clock.left(group.timeout(TOOLS)))
        name = find_tool(group.name, parsed.name, listing)
        if name not in listing:
            listing = await group.listing(TOOLS, call.clock.left(group.timeout(TOOLS)), Freshness.RENEWED)
            name = find_tool(group.name, parsed.name, listing)
        if name not in listing:
            raise CallRefused(_no_tool(group, name, listing) + parsed.about_others())
        definition = listing[name]
        args = parsed.for_tool(name, definition)
        params = call.params({"name": name, "arguments": Raw(args)})
        options = call.options(group.timeout(TOOLS))
        try:
            if group.policy is None:
                return await group.request(_CALL, params, options)
            return await group.policy.call(
                name, definition, args, options, lambda now: group.request(_CALL, params, now)
            )
        except CallRefused as refusal:
            raise CallRefused(f"The call was not made: {refusal}") from None
        except UpstreamRefused as refusal:
            if refusal.code == METHOD_NOT_FOUND and _needs_a_task(definition):
                raise CallRefused(
                    f"Tool {cut(name)!r} of group {group.name!r} runs only as a task (taskSupport), and the proxy has no tasks."
                ) from None
            # In a later round the upstream refuses the answers or the state, which the model cannot correct.
            if refusal.code != INVALID_PARAMS or call.inputs or call.state:
                raise
            raise _RejectedArguments(refusal, name, definition) from None

    def _group(self, name: str) -> Group:
        """The group of this name, if the configuration allows its tools. Raises CallRefused with the names of the groups."""
        group = self._groups.get(name)
        if group is None:
            raise CallRefused(
                f"Unknown group {cut(name)!r}.{_nearest(name, self._groups)} Groups: {name_list(self._groups)}."
            )
        if not group.has(TOOLS):
            raise CallRefused(
                f"The tools of group {name!r} are switched off in the configuration (features.tools is false)."
            )
        group.try_again()
        return group


class _Execution(msgspec.Struct):
    task_support: str = msgspec.field(name="taskSupport", default="")


class _Definition(msgspec.Struct):
    execution: _Execution = msgspec.field(default_factory=_Execution)


class _RejectedArguments(UpstreamRefused):
    """The upstream refused the arguments of a call. The text contains its reason and the schema."""

    def __init__(self, refusal: UpstreamRefused, tool: str, definition: Raw) -> None:
        super().__init__(refusal.error)
        schema = bytes(decode_members(definition).get("inputSchema", Raw(b"{}"))).decode()
        reason = cut(refusal.text, MAX_TEXT)
        self._text = (
            f"The server rejects the arguments of {cut(tool)!r}: {reason}\nInput schema of the tool: {schema}"
        )

    def __str__(self) -> str:
        return self._text


def tool_definitions(servers: Iterable[Server]) -> bytes:
    """The definitions of the two tools over these servers: a JSON array."""
    return tool_surface.tools({server.name: server.description for server in servers})


def failure(text: str) -> bytes:
    """A tool result that reports a failure to the model (MCP 2025-11-25, server/tools, "Error Handling": ``isError``)."""
    return msgspec.json.encode({"content": [{"type": "text", "text": text}], "isError": True})


def explain_failure(error: UpstreamError) -> bytes:
    """The result for a call that the upstream did not answer."""
    return failure(f"The call failed: {error}.")


def _needs_a_task(definition: Raw) -> bool:
    """Whether the server calls this tool only as a task (MCP 2025-11-25, basic/utilities/tasks, "Tool-Level Negotiation")."""
    try:
        return msgspec.json.decode(definition, type=_Definition).execution.task_support == "required"
    except msgspec.DecodeError:
        return False


async def _refuse(refusal: CallRefused) -> bytes:
    raise refusal


def _not_available(group: str, error: UpstreamFailed) -> str:
    when = " yet" if isinstance(error, StillStarting) else ""
    text = f"Group {group!r} is not available{when}: {error}. Other groups are not affected."
    return _with_output(text + (error.remedy and f"\n{error.remedy}"), error)


def _call_failed(parsed: CallArguments, error: UpstreamFailed, group: Group | None) -> str:
    """Why a call has no result. A bad answer of a server that stays connected concerns this call only."""
    if (
        isinstance(error, UpstreamGone | SignInNeeded)
        or error.remedy
        or group is None
        or group.upstream is None
    ):
        return _not_available(parsed.group, error)
    return _with_output(f"The call of {cut(parsed.name)!r} in group {parsed.group!r} failed: {error}.", error)


def _with_output(text: str, error: UpstreamFailed) -> str:
    return f"{text}\nLast output of the server:\n{error.last_output}" if error.last_output else text


def _no_tool(group: Group, name: str, tools: Listing) -> str:
    for meant in readings(group.name, name):
        if setting := group.switched_off_by(meant):
            return _switched_off(group, meant, setting)
    text = (
        f"Group {group.name!r} has no tool {cut(name)!r}.{_nearest(name, tools)} Tools: {name_list(tools)}."
    )
    return f"{text} This list is incomplete: {tools.cut}." if tools.cut else text


def _refuse_switched_off(group: Group, *tools: str) -> None:
    """Raises CallRefused, with the allowed tools, if the configuration switches off all that these names can mean."""
    if not all(map(group.switched_off_by, tools)):
        return
    meant = [one for tool in tools for one in readings(group.name, tool)]
    settings = [group.switched_off_by(one) for one in meant]
    if meant and all(settings):
        raise CallRefused(_switched_off(group, meant[0], settings[0]))


def _switched_off(group: Group, tool: str, setting: str) -> str:
    """Why a tool cannot be used, with the allowed tools."""
    verdict = "denied" if setting == "tools.deny" else "not allowed"
    text = f"Tool {cut(tool)!r} of group {group.name!r} is {verdict} by the configuration ({setting})."
    if known := group.last_names(TOOLS):
        # A name that no setting mentions may be misspelt.
        near = _nearest(tool, known) if setting == "tools.allow" else ""
        text += f"{near} Tools: {name_list(known)}."
    return text


def _nearest(name: str, known: Iterable[str]) -> str:
    """The most similar of the first known names of a similar length."""
    if len(name) > _MAX_COMPARED_LENGTH:
        return ""
    import difflib

    similar = (other for other in known if len(name) <= 2 * len(other) and len(other) <= 2 * len(name))
    short = (other for other in similar if len(other) <= _MAX_COMPARED_LENGTH)
    compared = {other.casefold(): other for other in islice(short, _MAX_COMPARED)}
    near = difflib.get_close_matches(name.casefold(), compared, n=1)
    return f" Did you mean {compared[near[0]]!r}?" if near else ""
