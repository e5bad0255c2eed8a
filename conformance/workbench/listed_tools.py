"""Which names in a flat list of tools stand for the tools of an upstream.

A name that contains the own name of a tool may stand for it. The name of the group around it decides first, in any spelling of its other
characters. Then the definition decides, because a program can have tools of its own whose names contain the same word. A program can also
put another text before each tool, such as a hash, so each tool is looked up alone.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from conformance.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.transcript import Json

#: what stands before and after the own name of a tool
Around: TypeAlias = tuple[str, str]


class ListedTools:
    """A list of tools, and the upstreams that it can show."""

    def __init__(self, shown: Sequence[Json], upstreams: Sequence[MockUpstream]) -> None:
        """`shown` are definitions with a name."""
        self.shown = shown
        self._own: dict[str, dict[str, list[Json]]] = {}
        for upstream in upstreams:
            tools = self._own.setdefault(upstream.name, {})
            for definition in upstream.script.tools or ():
                tools.setdefault(definition["name"], []).append(definition)
        self._names: dict[str, dict[str, list[str]]] = {}

    def names(self, group: str) -> Mapping[str, list[str]]:
        """By own name: the names that can stand for a tool of the group, the most likely first. The list does not tell them apart."""
        if group not in self._names:
            own, taken = self._own.get(group, {}), set[str]()
            self._names[group] = {}
            # "echo_all" first, because its name contains "echo" too.
            for tool in sorted(own, key=len, reverse=True):
                if found := self._candidates(group, tool, own[tool], taken):
                    self._names[group][tool] = found
                    taken.add(found[0])
        return self._names[group]

    def name(self, group: str, tool: str) -> str | None:
        """The name of a tool of the group; None if the list does not show it.

        Raises `NotApplicable` if the list does not tell it from that of the same name of another group.
        """
        known = self.names(group)
        taken = {names[0] for names in known.values()}
        found = known.get(tool) or self._candidates(group, tool, (), taken)
        if len(found) > 1 and any(tool in self._own[other] for other in self._others(group)):
            raise NotApplicable(
                f"tools/list shows {', '.join(found)}, and nothing there tells which of them is {tool} of server {group}"
            )
        return found[0] if found else None

    def own(self, group: str) -> Iterator[tuple[str, Json]] | None:
        """The tools of the group with their own names; None if all its names are made in one way (`around`)."""
        known = {tool: names[0] for tool, names in self.names(group).items()}
        return None if not known or common(known) is not None else self._one_by_one(known)

    def around(self, group: str) -> Around | None:
        """What stands before and after the own names of the group; None if the list does not show that."""
        known = {tool: names[0] for tool, names in self.names(group).items()}
        if known:
            return common(known)
        names = [one["name"] for one in self.shown if not self._is_of_another(one, group)]
        return affixes(names, group, sorted(self._own.get(group, ())), self._others(group))

    def of_others(self, group: str) -> set[str]:
        """The own names of tools that other groups alone have."""
        found = {tool for other in self._others(group) for tool in self._own[other]}
        return found - self._own.get(group, {}).keys()

    def _others(self, group: str) -> set[str]:
        return self._own.keys() - {group}

    def _one_by_one(self, known: Mapping[str, str]) -> Iterator[tuple[str, Json]]:
        own_names = {name: tool for tool, name in known.items()}
        alike = form(known)
        for one in self.shown:
            other = alike.fullmatch(one["name"]) if alike is not None else None
            if one["name"] in own_names:
                yield own_names[one["name"]], one
            elif other is not None and other[1] not in known:
                yield other[1], one

    def _candidates(self, group: str, tool: str, own: Sequence[Json], taken: Collection[str]) -> list[str]:
        found = [one for one in self.shown if one["name"] not in taken and any(cuts(one["name"], tool))]
        found = [one for one in found if not self._is_of_another(one, group, own)]
        others = self._others(group)
        of_group = [one for one in found if _is_about(one["name"], tool, group)]
        found = of_group or [
            one for one in found if not any(_is_about(one["name"], tool, other) for other in others)
        ]
        found = _likely(found, lambda one: any(_describes(one, definition) for definition in own))
        found = _likely(found, lambda one: any(_has_arguments_of(one, definition) for definition in own))
        if not of_group:
            found = _likely(found, lambda one: one["name"] == tool)
            found = _likely(found, lambda one: _mentions(one, group))
        names = sorted({one["name"] for one in found}, key=len)
        return names[:1] if of_group else names

    def _is_of_another(self, one: Json, group: str, own: Sequence[Json] = ()) -> bool:
        """Whether the definition names another group where the own definitions do not, and not this group."""
        if _mentions(one, group) or has_token((one["name"],), group):
            return False
        named = [other for other in self._others(group) if _mentions(one, other)]
        return any(not any(_mentions(definition, other) for definition in own) for other in named)


def cuts(name: str, tool: str) -> Iterator[Around]:
    """What can stand around the own name in this name, where no letter and no digit touches it."""
    if tool not in name:
        return  # faster than the expression, and lists can have thousands of tools
    for place in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(tool)}(?![A-Za-z0-9])", name):
        yield name[: place.start()], name[place.end() :]


def common(names: Mapping[str, str]) -> Around | None:
    """What stands around the own name in all of these names, by own name; None if that differs."""
    around = [set(cuts(name, tool)) for tool, name in names.items()]
    return min(set.intersection(*around), key=_length, default=None) if around else None


def form(names: Mapping[str, str]) -> re.Pattern[str] | None:
    """What all of these names match, by own name, with the own name as its group; None unless they differ in single characters."""
    around = [min(cuts(name, tool), key=_length) for tool, name in names.items()]
    before, after = _alike([before for before, _ in around]), _alike([after for _, after in around])
    return None if before is None or after is None else re.compile(f"{before}(.+){after}", re.DOTALL)


def affixes(shown: Iterable[str], group: str, own: Iterable[str], others: Iterable[str]) -> Around | None:
    """What stands before and after the own names of the tools of a group, as far as the list shows it.

    The name of the group counts most. Then the bare name counts, then any name that does not contain another group. None = the list
    shows no tool of the group.
    """
    cut = [
        (name[: place.start()], name[place.end() :])
        for tool in own
        for name in shown
        for place in [re.search(re.escape(tool), name)]
        if place is not None
    ]
    of_group = [around for around in cut if has_token(around, group)]
    of_none = [around for around in cut if not any(has_token(around, other) for other in others)]
    if of_group:
        return min(of_group, key=_length)
    if ("", "") in cut:
        return "", ""
    return min(of_none, key=_length, default=None)


def has_token(texts: Sequence[str], group: str) -> bool:
    """Whether one of the texts has the name of a group as a word, in any spelling of its other characters."""
    token = f"_{_plain(group).strip('_')}_"
    return any(token in f"_{_plain(text)}_" for text in texts)


def _likely(found: list[Json], is_likely: Callable[[Json], bool]) -> list[Json]:
    """The likely ones; all if none is."""
    return [one for one in found if is_likely(one)] or found


def _is_about(name: str, tool: str, group: str) -> bool:
    return any(has_token(around, group) for around in cuts(name, tool))


def _describes(shown: Json, own: Json) -> bool:
    wanted, seen = own.get("description"), shown.get("description")
    return isinstance(wanted, str) and isinstance(seen, str) and wanted != "" and wanted in seen


def _has_arguments_of(shown: Json, own: Json) -> bool:
    return bool(_arguments(shown) == _arguments(own))


def _arguments(definition: Json) -> Any:
    schema = definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return sorted(properties) if isinstance(properties, dict) else properties


def _mentions(shown: Json, group: str) -> bool:
    """Whether the title, the description or the metadata of the definition has the name of the group."""
    about = [shown.get("title"), shown.get("description"), json.dumps(shown.get("_meta", {}))]
    return has_token(tuple(text for text in about if isinstance(text, str)), group)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", text).casefold()


def _alike(texts: Sequence[str]) -> str | None:
    """A regular expression for texts of one length, in which each place that differs is any character; None for several lengths."""
    if len({len(text) for text in texts}) > 1:
        return None
    return "".join(
        re.escape(column[0]) if len(set(column)) == 1 else "." for column in zip(*texts, strict=True)
    )


def _length(around: Around) -> int:
    return len("".join(around))
