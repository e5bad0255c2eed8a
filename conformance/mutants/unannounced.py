"""Mistakes with lists that change without a notification, with links in results, and with URIs that a template covers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.result_uris import ResultUris
from dynamic_mcp.frontend.uritemplate import Matcher
from dynamic_mcp.groups import renewals
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Freshness, Kind, Listing

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.frontend.call import Call


@mutant(
    "FRONT-070",
    also={
        "FRONT-071": "the same holds for the other lists",
        "HTTP-062": "the list after a mismatch is the old one",
    },
)
def keeps_a_list_until_a_notification() -> None:
    renewals.BURST = 0


@mutant("FRONT-070", also={"HTTP-062": "the list after a mismatch is the old one"})
def refuses_a_tool_by_an_old_list() -> None:
    _needs(lambda kind, freshness: kind is not TOOLS or freshness is not Freshness.RENEWED)


@mutant("FRONT-071")
def lists_only_tools_anew() -> None:
    _needs(lambda kind, freshness: kind is TOOLS)


@mutant("FRONT-071")
def refuses_a_resource_by_an_old_list() -> None:
    _needs(lambda kind, freshness: kind is TOOLS or freshness is not Freshness.RENEWED)


def _needs(is_right: Callable[[Kind, Freshness], bool]) -> None:
    """Let the proxy trust its listings in the other cases."""
    right = Group.listing

    async def wrong(
        self: Group, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        return await right(self, kind, timeout, freshness if is_right(kind, freshness) else Freshness.KNOWN)

    replace(right, wrong)


@mutant("FRONT-072")
def lists_again_for_each_wrong_name() -> None:
    renewals.BURST = 1 << 30


@mutant("FRONT-073")
def forgets_the_links_of_results() -> None:
    replace(ResultUris.giver, lambda self, uri: None)


@mutant("FRONT-073")
def knows_the_links_of_tools_only() -> None:
    right = ResultUris.note

    async def wrong(self: ResultUris, group: str, result: bytes) -> None:
        if b'"messages"' not in result:
            await right(self, group, result)

    replace(right, wrong)


@mutant("FRONT-074")
def believes_a_link_before_any_list() -> None:
    right = Catalog.read_owner

    async def wrong(self: Catalog, call: Call) -> tuple[str, Group]:
        uri, group = await right(self, call)
        giver = self.result_uris.giver(uri)
        # Private, because the groups are known nowhere else.
        return uri, group if giver is None else self._groups[giver]

    replace(right, wrong)


@mutant("FRONT-074")
def the_last_group_that_links_to_a_uri_gets_it() -> None:
    right = ResultUris.note

    async def wrong(self: ResultUris, group: str, result: bytes) -> None:
        # Private, because only this table knows the givers.
        kept, self._given = self._given, {}
        await right(self, group, result)
        for name, given in kept.items():
            new = self._given.get(group, {})
            self._given.setdefault(name, {}).update({uri: n for uri, n in given.items() if uri not in new})

    replace(right, wrong)


@mutant("FRONT-075")
def knows_plain_variables_only() -> None:
    right = Matcher.matches

    def wrong(self: Matcher, template: str, *, loosely: bool = False) -> bool:
        return re.search(r"\{[+#./;?&]", template) is None and right(self, template, loosely=loosely)

    replace(right, wrong)


@mutant("FRONT-076")
def a_value_never_has_slashes() -> None:
    right = Matcher.matches

    def wrong(self: Matcher, template: str, *, loosely: bool = False) -> bool:
        return right(self, template)

    replace(right, wrong)
