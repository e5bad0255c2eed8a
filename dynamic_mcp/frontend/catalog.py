"""Resources and prompts of all groups as one list each, and the group of each entry.

A list is the union over the allowed groups, in the order of the configuration, with every definition as its upstream wrote it. Only the
part of a group that is slow, broken or without the capability is missing. The additional parameter ``group`` restricts a request to one
group, so that entries of equal names are reachable; then a failure of the group is an error. ``owners`` decides which group a name
leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.frontend import uritemplate
from dynamic_mcp.frontend.bridge import not_found_code
from dynamic_mcp.frontend.call import Call, refuse_cursor
from dynamic_mcp.frontend.owners import Owners, own_name, owner_by_prefix, qualified_name
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import MAX_NAME, PROMPTS, RESOURCES, TEMPLATES, Kind, Listing, usable
from dynamic_mcp.hooks import Hooks, Subject
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, Refusal, format_size
from dynamic_mcp.protocol.nulls import without_nulls
from dynamic_mcp.tasks import Slices
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.wording import cut, name_list

#: Bytes of the union. Beyond them the longest listings are left out; the parameter ``group`` still shows each of them.
MAX_UNION = 64 << 20


class _Reference(msgspec.Struct):
    type: str
    name: str | None = None
    uri: str | None = None


#: Tells whether a group has a name, by the names in its listing of this kind.
_Search = tuple[Kind, Callable[[Collection[str]], Awaitable[bool]]]


class Catalog:
    """The union over the current groups, in their order."""

    def __init__(self, groups: Mapping[str, Group], hooks: Hooks) -> None:
        self._groups = groups
        self._hooks = hooks
        self._owners = Owners()
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
        name = call.group_name()
        listings = self._fitting(kind, await self._listings(kind, name))
        definitions = (
            self._unambiguous(listings)
            if kind is PROMPTS and name is None
            else (bytes(raw) for _, listing in listings for raw in (listing or {}).values())
        )
        found, slices = [], Slices()
        for raw in definitions:
            found.append(_valid(raw, kind))
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
        ref = call.read("ref", _Reference)
        reference = call.read("ref", dict[str, Raw])
        if ref.type == "ref/prompt" and ref.name is not None:
            kind = PROMPTS
            group, name = await self._prompt(ref.name, call)
            reference["name"] = Raw(msgspec.json.encode(name))
        elif ref.type == "ref/resource" and ref.uri is not None:
            kind = RESOURCES
            group = await self._owner_of(ref.uri, call, template=True)
        else:
            raise Refusal(INVALID_PARAMS, "ref must be a ref/prompt with a name or a ref/resource with a uri")
        # The upstream gets the reference that was read, even if a member of it comes twice.
        members = {**call.members, "ref": Raw(msgspec.json.encode(reference))}
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
        return await group.request(call.incoming.method, params, options, kind)

    async def _owner_of(self, uri: str, call: Call, *, template: bool = False) -> Group:
        """The first group that lists the URI, else the first with a template that matches it. Raises Refusal.

        With ``template``, the URI can also be a template itself; then a group that lists this template comes first.
        """
        if (group := call.group_name()) is not None:
            return self._group(RESOURCES, group)
        searches: list[_Search] = [(RESOURCES, _listed(uri)), (TEMPLATES, _matched(uri))]
        if template:
            searches.insert(0, (TEMPLATES, _listed(uri)))
        if (owner := await self._find(uri, searches, call)) is not None:
            return owner
        code = not_found_code(modern=call.incoming.modern)
        text = f"Resource not found: {cut(uri)}{self._not_searched(RESOURCES)}"
        raise Refusal(code, text, {"uri": uri} if len(uri) <= MAX_NAME else None)

    async def _prompt(self, name: str, call: Call) -> tuple[Group, str]:
        """The group of a listed prompt, and the prompt's name in that group. Raises Refusal."""
        if (group := call.group_name()) is not None:
            return self._group(PROMPTS, group), name
        own: str | None = name
        prefix = owner_by_prefix(name, self._groups)
        if prefix is None:
            owner = await self._find(name, [(PROMPTS, _listed(name))], call)
        else:
            owner = self._group(PROMPTS, prefix)
            names = await _names(owner, PROMPTS, call)
            # Without a listing, the request to the group fails with the reason.
            own = name if names is None else own_name(prefix, name, names, self._groups)
        if owner is None or own is None:
            raise Refusal(INVALID_PARAMS, f"Unknown prompt: {cut(name)}{self._not_searched(PROMPTS)}")
        return owner, own

    def _not_searched(self, kind: Kind) -> str:
        """The groups that may have a missing name, because they are not available."""
        groups = [name for name, group in self._groups.items() if group.has(kind) and group.upstream is None]
        return f". Not available now, and so not searched: {name_list(groups)}" if groups else ""

    async def _find(self, name: str, searches: Sequence[_Search], call: Call) -> Group | None:
        """The owner of a name: the first group that a search finds, or that owned the name before and still can."""
        kind = searches[0][0]
        groups = [group for group in self._groups.values() if group.has(kind)]
        order = [group.name for group in groups]
        before = self._owners.of(kind, name)
        claimants = self._owners.claimants(kind, name, order)
        unknown: set[str] = set()
        for searched, has in searches:
            candidates = [group for group in groups if group.name in claimants]
            async with aclosing(_in_order(candidates, searched, call)) as found:
                async for group, names in found:
                    if names is None:
                        unknown.add(group.name)
                    if await has(names) if names is not None else group.name == before:
                        self._owners.remember(kind, name, group.name, order, unknown)
                        return group
        self._owners.forget(kind, name)
        # The owner does not have the name any more, so that any group can be the next one.
        return None if claimants is order else await self._find(name, searches, call)

    async def _listings(self, kind: Kind, name: str | None = None) -> list[tuple[Group, Listing | None]]:
        """The part of each group in a list. Raises UpstreamError only for a group that the client names."""
        if name is not None:
            group = self._group(kind, name)
            return [(group, usable(await group.listing(kind), kind))]
        groups = [group for group in self._groups.values() if group.has(kind)]
        listings = await asyncio.gather(*(_listing(group, kind, group.timeout(kind)) for group in groups))
        return list(zip(groups, listings, strict=True))

    def _fitting(
        self, kind: Kind, listings: list[tuple[Group, Listing | None]]
    ) -> list[tuple[Group, Listing | None]]:
        """The listings without the longest ones, if all together are longer than ``MAX_UNION``."""
        sizes = {group.name: listing.size for group, listing in listings if listing is not None}
        size, left_out = sum(sizes.values()), set[str]()
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            if size <= MAX_UNION:
                break
            size -= sizes[name]
            left_out.add(name)
        for name in left_out - self._reported:
            log.warning(
                "group %s is missing in %s, because all lists together are larger than %s",
                name,
                kind.method,
                format_size(MAX_UNION),
            )
        self._reported |= left_out
        return [(group, listing) for group, listing in listings if group.name not in left_out]

    def _unambiguous(self, listings: Sequence[tuple[Group, Listing | None]]) -> Iterator[bytes]:
        """The definition of each prompt under a name of its own: the plain one, or ``GROUP/NAME`` if that belongs to another group.

        Resources keep their URIs, which have a meaning; the parameter ``group`` reaches those of a later group.
        """
        groups = [group.name for group, _ in listings]
        taken: set[str] = set()
        for group, listing in listings:
            for own in (group.last_names(PROMPTS) or ()) if listing is None else listing:
                prefix = owner_by_prefix(own, self._groups)
                is_free = own not in taken and group.name in self._owners.claimants(PROMPTS, own, groups)
                if prefix == group.name or (prefix is None and is_free):
                    taken.add(own)
                    if listing is not None:
                        yield bytes(listing[own])
                elif listing is not None:
                    name = qualified_name(group.name, own, listing, self._groups)
                    if name is not None:
                        yield _renamed(listing[own], name)

    def _group(self, kind: Kind, name: str) -> Group:
        group = self._groups.get(name)
        if group is None:
            raise Refusal(INVALID_PARAMS, f"Unknown group {cut(name)!r}. Groups: {name_list(self._groups)}")
        if not group.has(kind):
            raise Refusal(
                INVALID_PARAMS, f"{kind.feature} of group {name!r} are switched off in the configuration"
            )
        group.try_again()
        return group


def _listed(name: str) -> Callable[[Collection[str]], Awaitable[bool]]:
    """A search for exactly this name."""

    async def has(names: Collection[str]) -> bool:
        return name in names

    return has


def _matched(uri: str) -> Callable[[Collection[str]], Awaitable[bool]]:
    """A search for a template that matches the URI."""
    matcher, slices = uritemplate.Matcher(uri), Slices()

    async def has(templates: Collection[str]) -> bool:
        for template in templates:
            if matcher.matches(template):
                return True
            await slices.rest()
        return False

    return has


async def _in_order(
    groups: Sequence[Group], kind: Kind, call: Call
) -> AsyncGenerator[tuple[Group, Collection[str] | None], None]:
    """The names of each group. They are requested at once, so that a slow group does not delay those before it."""
    tasks = [asyncio.ensure_future(_names(group, kind, call)) for group in groups]
    try:
        for group, task in zip(groups, tasks, strict=True):
            yield group, await task
    finally:
        for task in tasks:
            task.cancel()


async def _names(group: Group, kind: Kind, call: Call) -> Collection[str] | None:
    """The names that the group lists, or listed last if it is down now. None if that is unknown.

    All searches of a call share the timeout of a group.
    """
    listing = await _listing(group, kind, call.seconds_left(group.timeout(kind)))
    return group.last_names(kind) if listing is None else listing


async def _listing(group: Group, kind: Kind, timeout: float) -> Listing | None:
    """The group's part of a list; None if it does not come in ``timeout`` seconds, its start included."""
    with anyio.move_on_after(timeout):
        try:
            return await group.listing(kind)
        except UpstreamError as error:
            log.debug("group %s is missing in %s: %s", group.name, kind.method, error)
    return None


def _valid(definition: bytes, kind: Kind) -> bytes:
    """The definition without nulls and with a name, because clients refuse a whole list for one bad entry."""
    definition = without_nulls(definition)
    if kind is PROMPTS or b'"name"' in definition:
        return definition
    members = msgspec.json.decode(definition, type=dict[str, Raw])
    return msgspec.json.encode({**members, "name": members[kind.key]})


def _renamed(definition: Raw, name: str) -> bytes:
    members = msgspec.json.decode(definition, type=dict[str, Raw])
    return msgspec.json.encode({**members, "name": Raw(msgspec.json.encode(name))})
