"""Searches for the group of a name, by what each group lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from dynamic_mcp.frontend import uritemplate
from dynamic_mcp.frontend.result_uris import ResultUris
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import RESOURCES, TEMPLATES, Kind, Listing
from dynamic_mcp.groups.uris import normal_uri, with_lower_beginning
from dynamic_mcp.tasks import Slices

#: Tells whether a group has a name, by the names in its listing of this kind.
Search = tuple[Kind, Callable[[Group, Collection[str]], Awaitable[bool]]]


def listed(kind: Kind, name: str) -> Search:
    """A search for exactly this name."""

    async def has(group: Group, names: Collection[str]) -> bool:
        return name in names

    return kind, has


def equivalent(uri: str) -> Search:
    """A search for a resource whose URI is another spelling of this one."""
    wanted, slices = normal_uri(uri), Slices()

    async def has(group: Group, names: Collection[str]) -> bool:
        known = names.normal_names if isinstance(names, Listing) else None
        if known is None:
            known = set()
            for name in names:
                known.add(normal_uri(name))
                await slices.rest()
            if isinstance(names, Listing):
                names.normal_names = known
        return wanted in known

    return RESOURCES, has


def matched(uri: str, *, loosely: bool = False) -> Search:
    """A search for a template that matches the URI."""
    matcher, slices = uritemplate.Matcher(uri), Slices()
    lower_uri = with_lower_beginning(uri)
    lower_matcher = uritemplate.Matcher(lower_uri)

    def matches(template: str) -> bool:
        if matcher.matches(template, loosely=loosely):
            return True
        lower = with_lower_beginning(template)
        return (lower, lower_uri) != (template, uri) and lower_matcher.matches(lower, loosely=loosely)

    async def has(group: Group, templates: Collection[str]) -> bool:
        for template in templates:
            if matches(template):
                return True
            await slices.rest()
        return False

    return TEMPLATES, has


def linked(uri: str, given: ResultUris) -> Search:
    """A search for the group that gave the URI in a result."""

    async def has(group: Group, names: Collection[str]) -> bool:
        return given.giver(uri) == group.name

    return RESOURCES, has
