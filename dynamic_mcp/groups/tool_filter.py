"""Which tools of a server the configuration allows. The client sees no other tool, and no call of one reaches the server."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.groups.listing import Listing
from dynamic_mcp.log import log
from dynamic_mcp.tasks import Slices
from dynamic_mcp.wording import cut

#: The list of a pattern, and the pattern.
_Pattern = tuple[str, str]


class ToolFilter:
    """The filter of one group. A new filter replaces it when the configuration changes."""

    def __init__(self, group: str, rules: ToolRules, reported: set[_Pattern] | None = None) -> None:
        """``reported`` holds the patterns that were reported as unused; the filters of a group share it."""
        self._group = group
        self._rules = rules
        self._allows_all = rules == ToolRules()
        self._reported = set[_Pattern]() if reported is None else reported
        self._allow = None if rules.allow is None else _matcher(rules.allow)
        self._deny = _matcher(rules.deny)
        #: the last whole listing, and its allowed part
        self._last: tuple[Listing, Listing] | None = None

    def with_rules(self, rules: ToolRules) -> ToolFilter:
        """This filter if the rules are the same, else a new one that repeats no report."""
        return self if rules == self._rules else ToolFilter(self._group, rules, self._reported)

    def switched_off_by(self, tool: str) -> str:
        """The setting that switches a tool off, which need not exist; "" for an allowed tool."""
        if self._allows_all:
            return ""
        if tool in self._rules.deny or self._deny.fullmatch(tool):
            return "tools.deny"
        allow = self._rules.allow
        if self._allow is None or allow is None or tool in allow or self._allow.fullmatch(tool):
            return ""
        return "tools.allow"

    def allowed_names(self, names: Iterable[str]) -> list[str]:
        """The allowed ones of these names, in their order."""
        return [name for name in names if not self.switched_off_by(name)]

    def allowed(self, listing: Listing) -> Listing:
        """The allowed part of a listing; the same object each time for the same listing."""
        if self._allows_all:
            return listing
        if not self._is_ready(listing):
            for _ in self._apply(listing):
                pass
        return listing if self._last is None else self._last[1]

    async def prepare(self, listing: Listing) -> Listing:
        """``allowed``, in slices, so that a long listing does not delay other tasks."""
        slices = Slices()
        if not self._is_ready(listing):
            for _ in self._apply(listing):
                await slices.rest()
        return self.allowed(listing)

    def _is_ready(self, listing: Listing) -> bool:
        is_last = self._last is not None and self._last[0] is listing
        return is_last or self._allows_all

    def _apply(self, listing: Listing) -> Iterator[None]:
        """Find the allowed part in small pieces. Warns once about each pattern without a tool, because it may be misspelt."""
        part, unused = Listing(), self._unreported()
        for name, raw in listing.items():
            if not self.switched_off_by(name):
                part[name] = raw
            for found in [one for one, matches in unused.items() if one[1] == name or matches(name)]:
                del unused[found]
            yield
        part.size, part.cut, part.is_lost = listing.size, listing.cut, listing.is_lost
        self._last = listing, part
        # Of an incomplete listing, the tool may be in the missing part.
        for field, pattern in unused if not listing.cut else ():
            self._reported.add((field, pattern))
            text = "group %s: tools.%s: the server lists no tool that matches %r"
            log.warning(text, self._group, field, cut(pattern))

    def _unreported(self) -> dict[_Pattern, Callable[[str], object]]:
        """Each pattern that was not reported, with its own test of a name."""
        patterns = [("allow", one) for one in self._rules.allow or ()]
        patterns += [("deny", one) for one in self._rules.deny]
        return {one: _matcher([one[1]]).fullmatch for one in patterns if one not in self._reported}


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for all patterns. It matches nothing without a pattern, and case always counts."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
