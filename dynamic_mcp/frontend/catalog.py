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
from dynamic_mcp.groups.listing import MAX_NAME, PROMPTS, RESOURCES, TEMPLATES, Kind, Listing
from dynamic_mcp.hooks import Hooks, Subject
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal, format_size
from dynamic_mcp.tasks import Slices
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.wording import cut, name_list

#: Bytes of the union. Beyond them the longest listings are left out; the parameter ``group`` still shows each of them.
MAX_UNION = 64 << 20


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
        #: the groups that were reported as left out of a union
        self._reported: set[str] = set()

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
        listings = self._fitting(kind, await self._listings(kind, call.group_name()))
        found, slices = [], Slices()
        for _, _, raw in _unambiguous(kind, listings, set()):
            found.append(raw)
            await slices.rest()
        return b'{"%b":[%b]}' % (kind.member.encode(), b",".join(found))

    async def read(self, call: Call) -> bytes:
        """The result of ``resources/read``. Raises Refusal and UpstreamError."""
        uri, group = await self.owner(call)
        subject = Subject("resource", group.name, uri)
        return await self._hooks.watch(subject, lambda: self._forward(call, group, RESOURCES, call.members))

    async def get_prompt(self, call: Call) -> bytes:
        """The result of ``prompts/get``. Raises Refusal and UpstreamError."""
        group, name = await self._prompt(call.read("name", str), call)
        members = {**call.members, "name": Raw(msgspec.json.encode(name))}
        subject = Subject("prompt", group.name, name, call.members.get("arguments", Raw(b"")))
        return await self._hooks.watch(subject, lambda: self._forward(call, group, PROMPTS, members))

    async def complete(self, call: Call) -> bytes:
        """The result of ``completion/complete``; empty if the upstream of the reference has no completions."""
        ref, members = call.read("ref", _Reference), call.members
        if ref.type == "ref/prompt" and ref.name is not None:
            kind = PROMPTS
            group, name = await self._prompt(ref.name, call)
            reference = msgspec.json.decode(members["ref"], type=dict[str, Raw])
            reference["name"] = Raw(msgspec.json.encode(name))
            members = {**members, "ref": Raw(msgspec.json.encode(reference))}
        elif ref.type == "ref/resource" and ref.uri is not None:
            kind = RESOURCES
            group = await self._owner_of(ref.uri, call)
        else:
            raise Refusal(INVALID_PARAMS, "ref must be a ref/prompt with a name or a ref/resource with a uri")
        if "completions" not in (await group.connected()).agreed.capabilities:
            return b'{"completion":{"values":[]}}'
        return await self._forward(call, group, kind, members)

    async def owner(self, call: Call) -> tuple[str, Group]:
        """The URI of a call, and its group. Raises Refusal."""
        uri = call.read("uri", str)
        return uri, await self._owner_of(uri, call)

    async def owner_of_uri(self, uri: str, call: Call) -> Group | None:
        """The group of a URI that a call contains, or None."""
        try:
            return await self._owner_of(uri, call)
        except Refusal:
            return None

    async def _forward(self, call: Call, group: Group, kind: Kind, members: dict[str, Raw]) -> bytes:
        call.group = group
        params = call.params({name: raw for name, raw in members.items() if name != "group"})
        timeout = group.timeout(kind)
        # Another group may have taken the time, because the search for the owner waited for its listing.
        options = call.options(timeout, at_least=timeout / 2)
        return await group.request(call.incoming.method, params, options)

    async def _owner_of(self, uri: str, call: Call) -> Group:
        """The first group that lists the URI, else the first with a template that matches it. Raises Refusal."""
        if (group := call.group_name()) is not None:
            return self._group(RESOURCES, group)
        async with aclosing(self._in_order(RESOURCES, call)) as listings:
            async for owner, listing in listings:
                if uri in listing:
                    return owner
        matcher, slices = uritemplate.Matcher(uri), Slices()
        async with aclosing(self._in_order(TEMPLATES, call)) as listings:
            async for owner, listing in listings:
                if uri in listing:
                    # A request for completions names the template itself.
                    return owner
                for template in listing:
                    if matcher.matches(template):
                        return owner
                    await slices.rest()
        code = not_found_code(modern=call.incoming.modern)
        raise Refusal(code, f"Resource not found: {cut(uri)}", {"uri": uri} if len(uri) <= MAX_NAME else None)

    async def _prompt(self, name: str, call: Call) -> tuple[Group, str]:
        """The group of a listed prompt, and the prompt's name in that group."""
        if (group := call.group_name()) is not None:
            return self._group(PROMPTS, group), name
        seen: set[str] = set()
        slices = Slices()
        async with aclosing(self._in_order(PROMPTS, call)) as listings:
            async for owner, listing in listings:
                for _, own, raw in _unambiguous(PROMPTS, [(owner, listing)], seen):
                    if msgspec.json.decode(raw, type=_Named).name == name:
                        return owner, own
                    await slices.rest()
        raise Refusal(INVALID_PARAMS, f"Unknown prompt: {cut(name)}")

    async def _in_order(self, kind: Kind, call: Call) -> AsyncGenerator[tuple[Group, Listing], None]:
        """The listings in the order of the groups, requested at once, so that a slow group does not delay those before it.

        All searches of a call share the timeout of a group.
        """
        groups = [group for group in self._groups.values() if group.has(kind)]
        tasks = [
            asyncio.ensure_future(_listing(group, kind, call.seconds_left(group.timeout(kind))))
            for group in groups
        ]
        try:
            for group, task in zip(groups, tasks, strict=True):
                yield group, await task
        finally:
            for task in tasks:
                task.cancel()

    async def _listings(self, kind: Kind, name: str | None = None) -> list[tuple[Group, Listing]]:
        candidates = [self._group(kind, name)] if name is not None else self._groups.values()
        groups = [group for group in candidates if group.has(kind)]
        listings = await asyncio.gather(*(_listing(group, kind, group.timeout(kind)) for group in groups))
        return list(zip(groups, listings, strict=True))

    def _fitting(self, kind: Kind, listings: list[tuple[Group, Listing]]) -> list[tuple[Group, Listing]]:
        """The listings without the longest ones, if all together are longer than ``MAX_UNION``."""
        size = sum(listing.size for _, listing in listings)
        left_out: set[str] = set()
        for group, listing in sorted(listings, key=lambda pair: -pair[1].size):
            if size <= MAX_UNION:
                break
            size -= listing.size
            left_out.add(group.name)
        for name in left_out - self._reported:
            log.warning(
                "group %s is missing in %s, because all lists together are larger than %s",
                name,
                kind.method,
                format_size(MAX_UNION),
            )
        self._reported |= left_out
        return [(group, listing) for group, listing in listings if group.name not in left_out]

    def _group(self, kind: Kind, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            raise Refusal(INVALID_PARAMS, f"Unknown group {cut(name)!r}. Groups: {name_list(self._groups)}")
        if not group.has(kind):
            raise Refusal(
                INVALID_PARAMS, f"{kind.feature} of group {name!r} are switched off in the configuration"
            )
        return group


async def _listing(group: Group, kind: Kind, timeout: float) -> Listing:
    """The group's part of a list; empty if it does not come in ``timeout`` seconds, its start included."""
    with anyio.move_on_after(timeout):
        try:
            return await group.listing(kind)
        except UpstreamError as error:
            log.debug("group %s is missing in %s: %s", group.name, kind.method, error)
    return Listing()


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
