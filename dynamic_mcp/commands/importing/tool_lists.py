"""The tools that an entry of an AI tool selects, as ``tools`` of the proxy.

What the entry switches off stays off: a list that cannot be read lets no tool through. A list of tools that need no approval, such as
``alwaysAllow``, restricts nothing and does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: The names of such lists in lower case and without underscores: ``includeTools`` (Gemini CLI), ``enabled_tools`` (Codex CLI),
#: ``disabledTools`` (KiloCode, Antigravity), and the names that other tools with the common format use.
_ALLOW = frozenset({"includetools", "includedtools", "enabledtools", "allowedtools", "allowtools"})
_DENY = frozenset(
    {
        "excludetools",
        "excludedtools",
        "disabledtools",
        "disabletools",
        "deniedtools",
        "denytools",
        "blockedtools",
        "disallowedtools",
    }
)
#: The same inside of an object ``tools``.
_INNER_ALLOW = frozenset({"allow", "allowed", "include", "included", "enabled"})
_INNER_DENY = frozenset({"deny", "denied", "exclude", "excluded", "disabled", "block", "blocked"})


class ToolLists:
    """Collects the lists of one entry. ``note`` gets a note about each list that means something else than it seems to."""

    def __init__(self, server: str, note: Callable[[str], None]) -> None:
        self._prefix = f"mcp__{server}__"
        self._note = note
        #: None allows every tool
        self._allow: list[str] | None = None
        self._deny: list[str] = []
        #: the lists of allowed tools, and whether a list of denied tools cannot be read, so that no tool is allowed
        self._allow_lists: list[str] = []
        self._has_unreadable = False

    def take(self, entry: dict[str, Any]) -> dict[str, list[str]]:
        """Remove the lists from the entry; the setting ``tools`` of the proxy, empty if all tools are on."""
        for name in list(entry):
            plain = name.replace("_", "").lower()
            if plain in _ALLOW:
                self._add_allowed(name, entry.pop(name))
            elif plain in _DENY:
                self._add_denied(name, entry.pop(name))
            elif name == "tools":
                self._take_tools(entry.pop(name))
        if self._has_unreadable:
            self._allow = []
            for name in self._allow_lists:
                self._note(f"{name} has no effect, because a list of denied tools cannot be read")
        allow = {} if self._allow is None else {"allow": self._allow}
        return {**allow, **({"deny": self._deny} if self._deny else {})}

    def _take_tools(self, value: object) -> None:
        """``tools`` is a list of all tools in use, two lists, or an object with a switch for each tool."""
        if not isinstance(value, dict):
            self._add_allowed(
                "tools", {True: None, False: []}.get(value) if isinstance(value, bool) else value
            )
            return
        others = False
        for name, inner in value.items():
            is_list = isinstance(inner, list)
            if is_list and name in _INNER_ALLOW:
                self._add_allowed(f"tools.{name}", inner)
            elif is_list and name in _INNER_DENY:
                self._add_denied(f"tools.{name}", inner)
            elif _is_off(inner):
                self._add_denied("tools", [name])
            else:
                others |= isinstance(inner, dict) and bool(inner.keys() - {"enabled", "disabled"})
        if others:
            self._note("tools: settings of single tools other than switches were left out")

    def _add_allowed(self, name: str, value: object) -> None:
        if value is None:
            return
        names = self._names(name, value) or []
        if "*" in names:
            return
        if not names:
            self._note(f"{name} names no tool, so none is allowed")
        elif self._allow is not None:
            self._note(
                f"{name}: there are several lists of allowed tools; only tools in each of them are allowed"
            )
        self._allow_lists.append(name)
        self._allow = names if self._allow is None else [one for one in self._allow if one in names]

    def _add_denied(self, name: str, value: object) -> None:
        names = [] if value is None else self._names(name, value)
        if names is None:
            self._has_unreadable = True
        else:
            self._deny += [one for one in names if one not in self._deny]

    def _names(self, where: str, value: object) -> list[str] | None:
        """The names in a list; None if it cannot be read."""
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            self._note(
                f"{where} must be a list of names; no tool is allowed until tools.allow of the server has some"
            )
            return None
        return [name for one in values if (name := self._name(where, one))]

    def _name(self, where: str, name: str) -> str:
        bare, parenthesis, _ = name.strip().removeprefix(self._prefix).partition("(")
        if parenthesis:
            self._note(
                f"{where}: a restriction of the arguments in parentheses was left out; it is for the whole tool"
            )
        return bare.strip()


def _is_off(value: object) -> bool:
    """Whether the value for one tool switches it off."""
    if isinstance(value, dict):
        return value.get("enabled") is False or value.get("disabled") is True
    return value is False or value in ("deny", "disabled", "off")
