"""Searches for the group of a name, by what each group lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from dynamic_mcp.frontend import uritemplate
from dynamic_mcp.frontend.result_uris import ResultUris
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import RESOURCES, TEMPLATES, Kind
from dynamic_mcp.tasks import Slices

#: Tells whether a group has a name, by the names in its listing of this kind.
Search = tuple[Kind, Callable[[Group, Collection[str]], Awaitable[bool]]]


def listed(kind: Kind, name: str) -> Search:
    """A search for exactly this name."""

    async def has(group: Group, names: Collection[str]) -> bool:
        return name in names

    return kind, has


def matched(uri: str, *, loosely: bool = False) -> Search:
    """A search for a template that matches the URI."""
    matcher, slices = uritemplate.Matcher(uri), Slices()

    async def has(group: Group, templates: Collection[str]) -> bool:
        for template in templates:
            if matcher.matches(template, loosely=loosely):
                return True
            await slices.rest()
        return False

    return TEMPLATES, has


def linked(uri: str, given: ResultUris) -> Search:
    """A search for the group that gave the URI in a result."""

    async def has(group: Group, names: Collection[str]) -> bool:
        return given.giver(uri) == group.name

    return RESOURCES, has
