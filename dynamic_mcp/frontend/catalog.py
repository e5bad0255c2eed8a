"""Resources and prompts of all groups as one list each, and the group of each entry.

A list is the union over the allowed groups, in the order of the configuration, with every definition as its upstream wrote it. Only the
part of a group that is slow, broken or without the capability is missing. The additional parameter ``group`` restricts a request to one
group, so that entries of equal names are reachable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.frontend import uritemplate
from dynamic_mcp.frontend.bridge import not_found_code
from dynamic_mcp.frontend.call import Call, refuse_cursor
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, Kind, Listing
from dynamic_mcp.hooks import Hooks, Subject
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal
from dynamic_mcp.upstream.base import Upstream


class _Reference(msgspec.Struct):
    type: str
    name: str | None = None
    uri: str | None = None


class _Named(msgspec.Struct):
    name: str


class Catalog:
    """The union over the current groups, in their order."""

    def __init__(self, groups: Mapping[str, Group], hooks: Hooks) -> None:
        self._groups = groups
        self._hooks = hooks

    def has(self, kind: Kind) -> bool:
        """Whether the configuration allows this kind for any group."""
        return any(group.has(kind) for group in self._groups.values())

    def owners(self, kind: Kind) -> tuple[Upstream, ...]:
        """The connected upstreams that offer this kind."""
        return tuple(
            group.upstream
            for group in self._groups.values()
            if group.upstream is not None
            and group.has(kind)
            and kind.feature in group.upstream.agreed.capabilities
        )

    async def list_all(self, kind: Kind, call: Call) -> bytes:
        """The result of a list request, in one page. Raises Refusal."""
        refuse_cursor(call.incoming.params)
        listings = await self._listings(kind, call.group_name())
        found = [raw for _, _, raw in _unambiguous(kind, listings, set())]
        return b'{"%b":[%b]}' % (kind.member.encode(), b",".join(found))

    async def read(self, call: Call) -> bytes:
        """The result of ``resources/read``. Raises Refusal and UpstreamError."""
        uri, group = await self.owner(call)
        subject = Subject("resource", group.name, uri)
        return await self._hooks.watch(subject, lambda: self._forward(call, group, RESOURCES, call.members))

    async def get_prompt(self, call: Call) -> bytes:
        """The result of ``prompts/get``. Raises Refusal and UpstreamError."""
        group, name = await self._prompt(call.read("name", str), call.group_name())
        members = {**call.members, "name": Raw(msgspec.json.encode(name))}
        subject = Subject("prompt", group.name, name, call.members.get("arguments", Raw(b"")))
        return await self._hooks.watch(subject, lambda: self._forward(call, group, PROMPTS, members))

    async def complete(self, call: Call) -> bytes:
        """The result of ``completion/complete``; empty if the upstream of the reference has no completions."""
        ref, members = call.read("ref", _Reference), call.members
        if ref.type == "ref/prompt" and ref.name is not None:
            kind = PROMPTS
            group, name = await self._prompt(ref.name, call.group_name())
            written = msgspec.json.decode(members["ref"], type=dict[str, Raw])
            written["name"] = Raw(msgspec.json.encode(name))
            members = {**members, "ref": Raw(msgspec.json.encode(written))}
        elif ref.type == "ref/resource" and ref.uri is not None:
            kind = RESOURCES
            group = await self._owner_of(ref.uri, call.group_name(), modern=call.incoming.modern)
        else:
            raise Refusal(INVALID_PARAMS, "ref must be a ref/prompt with a name or a ref/resource with a uri")
        if "completions" not in (await group.connected()).agreed.capabilities:
            return b'{"completion":{"values":[]}}'
        return await self._forward(call, group, kind, members)

    async def owner(self, call: Call) -> tuple[str, Group]:
        """The URI of a call, and its group. Raises Refusal."""
        uri = call.read("uri", str)
        return uri, await self._owner_of(uri, call.group_name(), modern=call.incoming.modern)

    async def owner_of_uri(self, uri: str) -> Group | None:
        """The group of a URI, or None."""
        try:
            return await self._owner_of(uri, None, modern=True)
        except Refusal:
            return None

    async def _forward(self, call: Call, group: Group, kind: Kind, members: dict[str, Raw]) -> bytes:
        call.group = group
        params = call.params({name: raw for name, raw in members.items() if name != "group"})
        return await group.request(call.incoming.method, params, call.options(group.timeout(kind)))

    async def _owner_of(self, uri: str, group: str | None, *, modern: bool) -> Group:
        """The first group that lists the URI, else the first with a template that matches it. Raises Refusal."""
        if group is not None:
            return self._group(RESOURCES, group)
        async with aclosing(self._in_order(RESOURCES)) as listings:
            async for owner, listing in listings:
                if uri in listing:
                    return owner
        async with aclosing(self._in_order(TEMPLATES)) as listings:
            async for owner, listing in listings:
                # A request for completions names the template itself.
                if any(uri == template or uritemplate.matches(template, uri) for template in listing):
                    return owner
        raise Refusal(not_found_code(modern=modern), f"Resource not found: {uri}", {"uri": uri})

    async def _prompt(self, name: str, group: str | None) -> tuple[Group, str]:
        """The group of a listed prompt, and the prompt's name in that group."""
        if group is not None:
            return self._group(PROMPTS, group), name
        seen: set[str] = set()
        async with aclosing(self._in_order(PROMPTS)) as listings:
            async for owner, listing in listings:
                for _, own, raw in _unambiguous(PROMPTS, [(owner, listing)], seen):
                    if msgspec.json.decode(raw, type=_Named).name == name:
                        return owner, own
        raise Refusal(INVALID_PARAMS, f"Unknown prompt: {name}")

    async def _in_order(self, kind: Kind) -> AsyncGenerator[tuple[Group, Listing], None]:
        """The listings in the order of the groups, requested at once, so that a slow group does not delay those before it."""
        groups = [group for group in self._groups.values() if group.has(kind)]
        tasks = [asyncio.ensure_future(_listing(group, kind)) for group in groups]
        try:
            for group, task in zip(groups, tasks, strict=True):
                yield group, await task
        finally:
            for task in tasks:
                task.cancel()

    async def _listings(self, kind: Kind, name: str | None = None) -> list[tuple[Group, Listing]]:
        candidates = [self._group(kind, name)] if name is not None else self._groups.values()
        groups = [group for group in candidates if group.has(kind)]
        listings = await asyncio.gather(*(_listing(group, kind) for group in groups))
        return list(zip(groups, listings, strict=True))

    def _group(self, kind: Kind, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            raise Refusal(INVALID_PARAMS, f"Unknown group {name!r}. Groups: {', '.join(self._groups)}")
        if not group.has(kind):
            raise Refusal(
                INVALID_PARAMS, f"{kind.feature} of group {name!r} are switched off in the configuration"
            )
        return group


async def _listing(group: Group, kind: Kind) -> Listing:
    """The group's part of a list; empty if it does not come in time."""
    with anyio.move_on_after(group.timeout(kind)):
        try:
            return await group.listing(kind)
        except UpstreamError as error:
            log.debug("group %s is missing in %s: %s", group.name, kind.method, error)
    return {}


def _unambiguous(
    kind: Kind, listings: Iterable[tuple[Group, Listing]], seen: set[str]
) -> Iterator[tuple[Group, str, bytes]]:
    """Every definition with its group and its name in that group. A prompt whose name an earlier group has gets its group as prefix.

    Resources keep their URIs, which have a meaning; the parameter ``group`` reaches those of a later group. ``seen`` contains the
    names of earlier groups, and gets the names of these.
    """
    for group, listing in listings:
        for name, raw in listing.items():
            if name not in seen:
                seen.add(name)
                yield group, name, bytes(raw)
            elif kind is PROMPTS:
                members = msgspec.json.decode(raw, type=dict[str, Raw])
                members["name"] = Raw(msgspec.json.encode(f"{group.name}/{name}"))
                yield group, name, msgspec.json.encode(members)
            else:
                yield group, name, bytes(raw)
