"""Mistakes with the tools that the configuration of a server allows or denies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import instances, mutant, replace
from conformance.mutants.wire import decoded
from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.config.tool_rules import tool_rules
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.frontend.tools import Toolbox
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.tool_filter import ToolFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.config.places import Path
    from dynamic_mcp.config.tool_rules import ToolsEntry
    from dynamic_mcp.frontend.call import Call
    from dynamic_mcp.groups.listing import Listing


@mutant("CFG-040")
def ignores_empty_patterns() -> None:
    """The proxy starts, and a filter of empty patterns denies nothing."""
    right = tool_rules

    def wrong(entry: ToolsEntry, report: Callable[..., None], path: Path) -> ToolRules:
        mistakes: list[object] = []
        rules = right(entry, lambda *mistake: mistakes.append(mistake), path)
        return ToolRules() if mistakes else rules

    replace(right, wrong)


@mutant("CFG-041")
def an_empty_list_of_allowed_tools_allows_all() -> None:
    right = ToolFilter.__init__

    def wrong(self: ToolFilter, group: str, rules: ToolRules, *more: Any) -> None:
        right(self, group, msgspec.structs.replace(rules, allow=rules.allow or None), *more)

    replace(right, wrong)


@mutant("CFG-041")
def an_allowed_tool_cannot_be_denied() -> None:
    right = ToolFilter.switched_off_by

    def wrong(self: ToolFilter, tool: str) -> str:
        only_allow = ToolFilter("", msgspec.structs.replace(rules[self], deny=()))
        allowed = rules[self].allow is not None and not right(only_allow, tool)
        return "" if allowed else right(self, tool)

    rules: dict[ToolFilter, ToolRules] = {}
    begin = ToolFilter.__init__

    def remember(self: ToolFilter, group: str, given: ToolRules, *more: Any) -> None:
        begin(self, group, given, *more)
        rules[self] = given

    replace(begin, remember)
    replace(right, wrong)


@mutant("CFG-041")
def the_case_of_a_pattern_does_not_count() -> None:
    right = ToolFilter.__init__

    def wrong(self: ToolFilter, group: str, rules: ToolRules, *more: Any) -> None:
        right(self, group, ToolRules(rules.allow, tuple(map(str.lower, rules.deny))), *more)

    replace(right, wrong)


@mutant("CFG-042")
def is_silent_about_patterns_that_match_no_tool() -> None:
    # Private: the only place that knows which patterns are still to be reported.
    replace(ToolFilter._unreported, lambda self: {})


@mutant("CFG-042")
def repeats_the_warning_for_each_listing() -> None:
    right = ToolFilter.prepare

    async def wrong(self: ToolFilter, listing: Listing) -> Listing:
        # Private: only the filter knows what it has reported.
        self._reported.clear()
        return await right(self, listing)

    replace(right, wrong)


@mutant("CFG-043")
def a_changed_filter_needs_a_restart() -> None:
    right = ListingCache.set_tools
    done: set[ListingCache] = set()

    def wrong(self: ListingCache, rules: ToolRules) -> None:
        if self not in done:
            done.add(self)
            right(self, rules)

    replace(right, wrong)


@mutant("FRONT-066", also={"CFG-041": "the listings have every tool", "CFG-043": "add stays in the listing"})
def refuses_denied_tools_and_still_shows_them() -> None:
    replace(ToolFilter.allowed, lambda self, listing: listing)


@mutant("FRONT-067", also={"CFG-041": "denied tools can be called", "CFG-043": "add can still be called"})
def hides_denied_tools_and_still_calls_them() -> None:
    groups, right = instances(Group), Toolbox.run

    async def wrong(self: Toolbox, call: Call) -> bytes:
        servers = [group.server for group in groups]
        tool = (decoded(bytes(call.members.get("arguments") or b"{}")) or {}).get("name")
        is_denied = any(group.switched_off_by(str(tool)) for group in groups)
        if is_denied and call.read("name", str) == CALL:
            for group in groups:
                group.define(msgspec.structs.replace(group.server, tools=ToolRules()))
        try:
            return await right(self, call)
        finally:
            for group, server in zip(groups, servers, strict=False):
                group.define(server)

    replace(right, wrong)


@mutant("FRONT-067")
def calls_a_denied_tool_unknown() -> None:
    """The proxy refuses the call, and does not name the configuration as the reason."""
    replace(Group.switched_off_by, lambda self, tool: "")
