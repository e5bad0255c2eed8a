"""Listings of an upstream: every page, with every definition as the upstream wrote it.

A listing is bounded in time, bytes, pages, entries and the length of a name. A longer one is cut, so the definitions that fit stay
usable. ``Listing.cut`` has the reason. An entry that is no definition, and a later page that fails, cost only themselves.
"""

from __future__ import annotations

import asyncio
import enum
from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.groups.entries import key_problem, valid_entry
from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import format_size
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.tasks import Slices
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.wording import MAX_TEXT, cut

#: Pages of one listing, and their bytes together.
MAX_PAGES = 1000
MAX_BYTES = 32 << 20
#: Definitions of one listing. A URI may have to be compared with every template, so there are fewer of them.
MAX_ENTRIES = 100_000
MAX_TEMPLATES = 2_000
#: Characters of a name or URI. A definition with a longer one is left out.
MAX_NAME = 8192
#: Bytes of a definition. A larger one is left out, because the proxy reads a definition in one go.
MAX_DEFINITION = 1 << 19
#: Bytes of a page up to which its entries may be anything. Each one becomes an object, which takes sixty times its bytes.
MAX_MIXED = 1 << 20
#: Seconds for the page after an empty cursor. Many servers mean the end of the list by it, and some do not answer.
EMPTY_CURSOR_BUDGET = 5.0


class Listing(dict[str, Raw]):
    """Definitions by name or URI, in the upstream's order."""

    #: the bytes of all pages
    size = 0
    #: why definitions are missing; empty for a complete listing
    cut = ""
    #: whether the upstream listed something, and nothing of it can be used
    is_lost = False
    #: the normal forms of the URIs, once a search needed them
    normal_names: set[str] | None = None


class Freshness(enum.Enum):
    """How fresh a listing a caller needs."""

    #: a client uses a name; the last listing is good if it has the name and the upstream has announced no change
    KNOWN = enum.auto()
    #: the proxy compares the list with that of a client; the listing is good if the upstream could announce changes since
    COMPARED = enum.auto()
    #: a client asked for the list; the listing is good if the upstream could announce changes since, and declares that it does
    REQUESTED = enum.auto()
    #: a new listing, because the last one lacks a name that a client uses
    RENEWED = enum.auto()


class Kind(msgspec.Struct, frozen=True):
    """A kind of definition, such as tools."""

    #: its capability and feature flag
    feature: str
    method: str
    #: the member of the result with the definitions, and the member of a definition with its name or URI
    member: str
    key: str
    max_entries: int = MAX_ENTRIES

    @property
    def list_changed(self) -> str:
        """The notification of a change of its list."""
        return f"notifications/{self.feature}/list_changed"


TOOLS = Kind("tools", "tools/list", "tools", "name")
RESOURCES = Kind("resources", "resources/list", "resources", "uri")
TEMPLATES = Kind("resources", "resources/templates/list", "resourceTemplates", "uriTemplate", MAX_TEMPLATES)
PROMPTS = Kind("prompts", "prompts/list", "prompts", "name")

#: The kinds that have a notification of their own.
ANNOUNCED = (TOOLS, RESOURCES, PROMPTS)
#: The lists that changed, by the notification of the change.
CHANGED = {
    TOOLS.list_changed: (TOOLS,),
    RESOURCES.list_changed: (RESOURCES, TEMPLATES),
    PROMPTS.list_changed: (PROMPTS,),
}


async def list_all(upstream: Upstream, kind: Kind, timeout: float) -> Listing:
    """All pages of a list, in ``timeout`` seconds together. Raises UpstreamError.

    The list is empty if the upstream does not declare the capability, or does not know the method.
    """
    listing = Listing()
    if kind.feature in upstream.agreed.capabilities:
        try:
            async with asyncio.timeout(timeout):
                await _add_pages(listing, upstream, kind, Options(timeout))
        except TimeoutError:
            raise incomplete(kind, timeout) from None
        except _Beyond as bound:
            listing.cut = str(bound)
    listing.is_lost = not listing and listing.cut not in ("", _absent(kind))
    return listing


def announces_changes(upstream: Upstream, kind: Kind) -> bool:
    """Whether the upstream declares that it notifies of changes of this list."""
    try:
        declared = msgspec.json.decode(upstream.agreed.capabilities.get(kind.feature, b"{}"), type=_Declared)
    except msgspec.DecodeError:
        return False
    return declared.list_changed is True


class _Declared(msgspec.Struct):
    list_changed: Any = msgspec.field(name="listChanged", default=False)


def incomplete(kind: Kind, timeout: float) -> UpstreamTimeout:
    """The error for a listing that takes longer than ``timeout`` seconds."""
    return UpstreamTimeout(f"no complete answer to {kind.method} within {timeout:g} s")


def usable(listing: Listing, kind: Kind) -> Listing:
    """The listing, unless nothing of it can be used: an empty list would hide the reason. Raises UpstreamFailed."""
    if listing.is_lost:
        raise UpstreamFailed(f"nothing in its {kind.method} can be used: {listing.cut}")
    return listing


def report_cut(group: str, kind: Kind, listing: Listing) -> None:
    """Warn about a listing that lacks definitions."""
    log.warning("group %s: the proxy uses only a part of its %s: %s", group, kind.method, listing.cut)


def _absent(kind: Kind) -> str:
    """Why a listing without a list is empty. Some libraries write an empty list as null, or leave it out."""
    return f"it has no list of {kind.member}"


class _Beyond(Exception):
    """A listing reached a bound, which the text names."""


async def _add_pages(listing: Listing, upstream: Upstream, kind: Kind, options: Options) -> None:
    """Add page after page. Raises UpstreamError, and _Beyond at a bound.

    An empty cursor is valid (MCP 2026-07-28, server/utilities/pagination); a repeated one ends the list. If the upstream does not accept
    its own empty cursor, that was the end.
    """
    params = b""
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        if cursor == "" and options.timeout is not None:
            options = Options(min(options.timeout, EMPTY_CURSOR_BUDGET))
        try:
            answer = await upstream.request(kind.method, params, options)
            following = await _add_page(listing, answer, kind, upstream)
        except UpstreamRefused as refusal:
            if refusal.code == jsonrpc.METHOD_NOT_FOUND and cursor is None:
                return
            _end_early(listing, cursor, refusal.as_failure(kind.method))
            return
        except (UpstreamFailed, UpstreamTimeout) as failure:
            _end_early(listing, cursor, failure)
            return
        if following is None or following in seen:
            return
        cursor = following
        seen.add(cursor)
        params = msgspec.json.encode({"cursor": cursor})
    raise _Beyond(f"it has more than {MAX_PAGES:,} pages")


def _end_early(listing: Listing, cursor: str | None, failure: UpstreamError) -> None:
    """End a listing whose page after ``cursor`` failed. Raises the failure if it concerns more than this page."""
    if (
        cursor is None
        or isinstance(failure, UpstreamGone)
        or (cursor and isinstance(failure, UpstreamTimeout))
    ):
        raise failure
    if cursor:
        listing.cut = f"a later page is missing, because {failure}"
    else:
        log.debug("an empty cursor was the end of a list: %s", failure)


async def _add_page(listing: Listing, answer: bytes, kind: Kind, upstream: Upstream) -> str | None:
    """Add the definitions of one page; the cursor of the next one. Raises UpstreamFailed, and _Beyond at a bound."""
    listing.size += len(answer)
    if listing.size > MAX_BYTES:
        raise _Beyond(f"it is larger than {format_size(MAX_BYTES)}")
    page_decoder, key_decoder = _decoders(kind)
    slices, wrong = Slices(), set[str]()
    try:
        page = page_decoder.decode(answer)
        await slices.rest()
        if not page.definitions or bytes(page.definitions) == jsonrpc.NULL:
            listing.cut = _absent(kind)
            return None
        try:
            _Counted.count(page.definitions, kind.max_entries - len(listing), kind.max_entries)
        except msgspec.ValidationError:
            # An entry is no object.
            if memoryview(page.definitions).nbytes > MAX_MIXED:
                raise
        await slices.rest()
        for raw in msgspec.json.decode(page.definitions, type=list[Raw]):
            # Before each of the ways out of this piece.
            await slices.rest()
            if memoryview(raw).nbytes > MAX_DEFINITION:
                listing.cut = f"a definition is larger than {format_size(MAX_DEFINITION)}"
                continue
            try:
                name = key_decoder.decode(raw).key
            except msgspec.DecodeError:
                listing.cut = f"an entry is no definition, because it has no {kind.key}"
                continue
            if len(name) > MAX_NAME:
                listing.cut = f"a {kind.key} has more than {MAX_NAME:,} characters"
                continue
            if problem := key_problem(kind.member, name):
                listing.cut = f"a {kind.key} {problem}"
                continue
            if kind is TOOLS and (problem := upstream.learn_tool(name, raw)):
                if len(listing.cut) < MAX_TEXT:
                    listing.cut += (
                        f"{listing.cut and '; '}the tool {cut(name)!r} is left out, because {problem}"
                    )
                continue
            # A view would keep the whole line in memory while one definition of it is in the cache.
            listing[name] = valid_entry(kind.member, raw, wrong)
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamFailed(f"its answer to {kind.method} is not a list of {kind.member}") from None
    if wrong:
        listing.cut = f"members of a wrong type are left out: {', '.join(sorted(wrong))}"
    try:
        return msgspec.json.decode(page.cursor or jsonrpc.NULL, type=str | None)
    except msgspec.DecodeError:
        if bytes(page.cursor) not in (b"false", b"0"):
            listing.cut = "its cursor for the next page is no text"
        return None


class _Counted(msgspec.Struct):
    """Counts the definitions of a page before each becomes an object, because millions of them would fill the memory."""

    left: ClassVar[int]
    most: ClassVar[int]

    def __post_init__(self) -> None:
        _Counted.left -= 1
        if _Counted.left < 0:
            raise _Beyond(f"it has more than {_Counted.most:,} entries")

    @classmethod
    def count(cls, definitions: Raw, left: int, most: int) -> None:
        """Raises _Beyond for more than ``left`` definitions, and msgspec.DecodeError for anything but a list of objects."""
        cls.left, cls.most = left, most
        msgspec.json.decode(definitions, type=list[cls])  # type: ignore[valid-type]


@lru_cache
def _decoders(kind: Kind) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    """The decoders of a page and of the key of a definition. They skip all other members, whose number has no bound."""
    page = msgspec.defstruct(
        "Page",
        [
            ("definitions", Raw, msgspec.field(name=kind.member, default=Raw(b""))),
            ("cursor", Raw, msgspec.field(name="nextCursor", default=Raw(b""))),
        ],
    )
    definition = msgspec.defstruct("Definition", [("key", str, msgspec.field(name=kind.key))])
    return msgspec.json.Decoder(page), msgspec.json.Decoder(definition)
