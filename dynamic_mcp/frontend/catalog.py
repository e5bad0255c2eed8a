"""Resources and prompts of all groups as one list each, and the group of each entry.

A list is the union over the allowed groups, in the order of the configuration. A definition stays as its upstream wrote it, unless it needs
a repair or a unique name. The part of a group is missing if it is slow, broken or too large, and empty without the capability. The
additional parameter ``group`` restricts a request to one group, so that entries of equal names are reachable. Then a failure of the group
is an error. ``owners`` decides which group a name leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.bridge import meta_of_list, not_found_code
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.changes import ListChanges, View
from dynamic_mcp.frontend.finder import Finder
from dynamic_mcp.frontend.list_pages import page, start_of
from dynamic_mcp.frontend.owners import NameOwners, own_name, owner_by_prefix, qualified_name
from dynamic_mcp.frontend.patience import Patience
from dynamic_mcp.frontend.result_uris import ResultUris
from dynamic_mcp.frontend.searches import equivalent, linked, listed, matched
from dynamic_mcp.frontend.valid_answers import given
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.holders import Holder
from dynamic_mcp.groups.listing import (
    MAX_NAME,
    PROMPTS,
    RESOURCES,
    TEMPLATES,
    Freshness,
    Kind,
    Listing,
    usable,
)
from dynamic_mcp.hooks import Hooks, Subject
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, NULL, Refusal, decode_members, format_size
from dynamic_mcp.protocol.nulls import without_nulls
from dynamic_mcp.tasks import Slices
from dynamic_mcp.wording import cut, name_list

#: Bytes of the union. Beyond them the longest listings are left out; the parameter ``group`` still shows each of them.
MAX_UNION = 64 << 20


class _Reference(msgspec.Struct):
    type: str
    name: str | None = None
    uri: str | None = None


class Catalog:
    """The union over the current groups, in their order."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        hooks: Hooks,
        changes: ListChanges,
        max_message: Callable[[Group], int | None] = lambda group: None,
    ) -> None:
        """``max_message`` gives the largest message to the client, in bytes; None for any size."""
        self._groups = groups
        self._max_message = max_message
        #: the URIs in the results of the groups
        self.result_uris = ResultUris(groups)
        self._hooks = hooks
        self._changes = changes
        self._patience = Patience(lambda kind: changes.suspect(kind.list_changed))
        self._owners = NameOwners()
        #: the groups that were reported as left out of a union, and the methods whose lists lack definitions
        self._reported: set[str] = set()

    def has(self, kind: Kind) -> bool:
        """Whether the configuration allows this kind for any group."""
        return any(group.has(kind) for group in self._groups.values())

    def close(self) -> None:
        """Cancel the listings that are still awaited."""
        self._patience.close()

    async def list_all(self, kind: Kind, call: Call) -> bytes:
        """The result of a list request: one page. Raises Refusal."""
        limit = next(map(self._max_message, self._groups.values()), None)
        start = start_of(call.incoming.params, limit)
        name = call.group_name()
        began = self._changes.events(kind.list_changed)
        view, found = await self._view(kind, name, await self._listings(kind, name))
        if not start or view.missing:
            # A change after the first page is a change for the client, even if a later page shows it. So is the return of a missing part.
            now = partial(self._now, kind, name)
            self._changes.answered(kind.list_changed, (kind, name), view, now, began)
        shown, cursor, left_out = page(found, start, limit)
        if left_out and kind.method not in self._reported:
            self._reported.add(kind.method)
            log.warning("%s lacks %d definitions that are too large for one message", kind.method, left_out)
        meta = meta_of_list(view.missing, modern=call.incoming.modern)
        return b'{%b"%b":[%b]%b}' % (meta, kind.member.encode(), b",".join(shown), cursor)

    async def _now(self, kind: Kind, name: str | None) -> View:
        """The list as the connected groups show it. Raises Refusal for an unknown group."""
        candidates = self._groups.values() if name is None else [self._group(kind, name)]
        groups = [group for group in candidates if group.has(kind)]

        async def part(group: Group) -> Listing | None:
            return await self._patience.listing(group, kind, Freshness.COMPARED) if group.upstream else None

        listings = await asyncio.gather(*map(part, groups))
        view, _ = await self._view(kind, name, list(zip(groups, listings, strict=True)))
        return view

    async def _view(
        self, kind: Kind, name: str | None, complete: list[tuple[Group, Listing | None]]
    ) -> tuple[View, list[bytes]]:
        """The digests of the parts, and the definitions that a client gets."""
        listings = self._fitting(kind, complete)
        definitions = (
            self._unambiguous(listings)
            if kind is PROMPTS and name is None
            else ((group, bytes(raw)) for group, listing in listings for raw in (listing or {}).values())
        )
        found: list[bytes] = []
        # Here, because the import loads the library of OpenSSL, and many clients never list resources or prompts.
        from hashlib import blake2b

        parts: dict[str, blake2b] = {}
        slices = Slices()
        for group, raw in definitions:
            definition = _valid(raw, kind)
            found.append(definition)
            parts.setdefault(group.name, blake2b()).update(definition + b"\n")
            await slices.rest()
        shown = {group.name for group, listing in listings if listing is not None}
        missing = frozenset(group.name for group, _ in complete if group.name not in shown)
        return View({group: part.digest() for group, part in parts.items()}, missing), found

    async def read(self, call: Call) -> bytes:
        """The result of ``resources/read``. Raises Refusal and UpstreamError."""
        uri, group = await self.read_owner(call)
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

    async def read_owner(self, call: Call) -> tuple[str, Group]:
        """The URI of a call, and its group. Raises Refusal."""
        uri = call.read("uri", str)
        return uri, await self._owner_of(uri, call)

    def subscribed(self, uri: str, holder: Holder) -> list[Group]:
        """The groups where this holder has a subscription to a resource, even if they do not list it any more."""
        return [group for group in self._groups.values() if group.subscriptions.holders.has(uri, holder)]

    async def find_owner(self, uri: str, call: Call) -> Group | None:
        """The group of a URI that a call contains, or None."""
        try:
            return await self._owner_of(uri, call)
        except Refusal:
            return None

    async def _forward(self, call: Call, group: Group, kind: Kind, members: dict[str, Raw]) -> bytes:
        call.group = group
        if group.upstream is None:
            group, _ = await group.live()
            call.group = group
        kept = given(members, "arguments", "context")
        params = call.params({name: raw for name, raw in kept.items() if name != "group"})
        timeout = group.timeout(kind)
        # Another group may have taken the time, because the search for the owner waited for its listing.
        options = call.options(timeout, at_least=timeout / 2)
        return await group.request(call.incoming.method, params, options, kind)

    async def _owner_of(self, uri: str, call: Call, *, template: bool = False) -> Group:
        """The first group that lists the URI, else the first that lists an equivalent one, or has a template that matches. Raises Refusal.

        Else it is the group that gave the URI in a result, else the first with a template that matches loosely. With ``template``, the
        URI can also be a template itself; then a group that lists this template comes first.
        """
        if (group := call.group_name()) is not None:
            return self._group(RESOURCES, group)
        searches = [listed(RESOURCES, uri), equivalent(uri), matched(uri), linked(uri, self.result_uris)]
        if template:
            searches.insert(0, listed(TEMPLATES, uri))
        loosely = [*searches, matched(uri, loosely=True)]
        # A URI that was used stays with its owner, however it fits.
        is_owned = self._owners.of(RESOURCES, uri) is not None
        searches = loosely if is_owned else searches
        finder = self._finder(call)
        owner = await finder.find(uri, searches, (RESOURCES, TEMPLATES), then=loosely)
        if owner is not None:
            return owner
        code = not_found_code(modern=call.incoming.modern)
        text = f"Resource not found: {cut(uri)}{self._not_searched(RESOURCES, finder)}"
        raise Refusal(code, text, {"uri": uri} if len(uri) <= MAX_NAME else None)

    async def _prompt(self, name: str, call: Call) -> tuple[Group, str]:
        """The group of a listed prompt, and the prompt's name in that group. Raises Refusal."""
        if (group := call.group_name()) is not None:
            return self._group(PROMPTS, group), name
        own: str | None = name
        finder = self._finder(call)
        prefix = owner_by_prefix(name, self._groups)
        if prefix is None:
            owner = await finder.find(name, [listed(PROMPTS, name)], (PROMPTS,))
        else:
            owner = self._group(PROMPTS, prefix)
            for freshness in (Freshness.KNOWN, Freshness.RENEWED):
                names = await finder.names(owner, PROMPTS, freshness)
                # Without a listing, the request to the group fails with the reason.
                own = name if names is None else own_name(prefix, name, names, self._groups)
                if own is not None:
                    break
        if owner is None or own is None:
            raise Refusal(INVALID_PARAMS, f"Unknown prompt: {cut(name)}{self._not_searched(PROMPTS, finder)}")
        return owner, own

    def _finder(self, call: Call) -> Finder:
        return Finder(self._groups, self._owners, self._patience, call.clock)

    def _not_searched(self, kind: Kind, finder: Finder) -> str:
        """The groups that may have a missing name, because they, or their lists, are not available."""
        groups = [
            name
            for name, group in self._groups.items()
            if group.has(kind) and (group.upstream is None or name in finder.not_searched)
        ]
        return f". Not available now, and so not searched: {name_list(groups)}" if groups else ""

    async def _listings(self, kind: Kind, name: str | None) -> list[tuple[Group, Listing | None]]:
        """The part of each group in a list. Raises Refusal and UpstreamError only for a group that the client names."""
        if name is not None:
            group = self._group(kind, name)
            return [(group, usable(await group.listing(kind, freshness=Freshness.REQUESTED), kind))]
        groups = [group for group in self._groups.values() if group.has(kind)]
        listings = await asyncio.gather(*(self._patience.listing(group, kind) for group in groups))
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

    def _unambiguous(self, listings: Sequence[tuple[Group, Listing | None]]) -> Iterator[tuple[Group, bytes]]:
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
                        yield group, bytes(listing[own])
                elif listing is not None:
                    name = qualified_name(group.name, own, listing, self._groups)
                    if name is not None:
                        yield group, _renamed(listing[own], name)

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


def _valid(definition: bytes, kind: Kind) -> bytes:
    """The definition without nulls and with a name, because clients refuse a whole list for one bad entry."""
    definition = without_nulls(definition)
    if kind is PROMPTS or (b'"name"' in definition and NULL not in definition):
        return definition
    members = decode_members(definition)
    if bytes(members.get("name", Raw(NULL))) != NULL:
        return definition
    return msgspec.json.encode({**members, "name": members[kind.key]})


def _renamed(definition: Raw, name: str) -> bytes:
    members = decode_members(definition)
    return msgspec.json.encode({**members, "name": Raw(msgspec.json.encode(name))})
