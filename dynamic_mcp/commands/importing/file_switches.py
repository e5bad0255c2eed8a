"""What the files of an AI tool switch off outside of the servers' entries: whole servers, and tools by both names in one.

Gemini CLI has ``mcp.excluded``, ``mcp.allowed`` and ``tools.exclude``, OpenCode ``tools``, ``permission`` and ``permissions``, and Claude
Code ``disabledMcpServers`` and ``permissions.deny``. The settings of Gemini CLI and Claude Code count together, those of the user and
those of the folder.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dynamic_mcp.commands.importing.entries import Imported
from dynamic_mcp.commands.importing.read import read
from dynamic_mcp.commands.importing.tools import Locations, Tool

#: The beginning of the full name of a tool, which ends with its own name.
_PREFIXES = {
    "gemini": ("mcp_{}_", "mcp__{}__", "{}__"),
    "opencode": ("{}_",),
    "claude": ("mcp__{}__",),
}


class FileSwitches:
    """The switches in the content of a tool's file."""

    def __init__(self, tool: Tool, values: Mapping[str, Any], locations: Locations) -> None:
        """Raises ConfigError for a file of settings that cannot be read."""
        self._tool = tool
        #: lists of servers, with the settings that they come from
        self._excluded: list[tuple[str, list[str]]] = []
        self._allowed: list[tuple[str, list[str]]] = []
        #: the setting, a pattern for full names, and whether it switches the tools on; a later rule wins
        self._rules: list[tuple[str, str, bool]] = []
        match tool.name:
            case "gemini":
                self._read_gemini(values)
                for is_global in (True, False):
                    for file in tool.files(locations, is_global=is_global):
                        if file.is_file():
                            self._read_gemini(read(file))
            case "opencode":
                self._read_opencode(values)
            case "claude":
                self._read_claude(values, locations)

    def apply(self, imported: Imported) -> None:
        """Switch off what the files switch off of this server, with a note."""
        name, entry = imported.name, imported.entry
        if entry is None:
            return
        off = [where for where, names in self._excluded if name.casefold() in map(str.casefold, names)]
        off += [where for where, names in self._allowed if name not in names]
        if off:
            entry["enabled"] = False
            imported.notes.append(f"{off[0]} of {self._tool.title} switches it off")
        allow, deny, settings = self._tools_of(name)
        if allow is None and not deny:
            return
        tools = entry.setdefault("tools", {})
        if allow is not None:
            tools["allow"] = [one for one in tools.get("allow", allow) if one in allow]
        if deny:
            tools["deny"] = list(dict.fromkeys([*tools.get("deny", []), *deny]))
        imported.notes.append(f"{settings[0]} of {self._tool.title} switches tools of it off")

    def _tools_of(self, server: str) -> tuple[list[str] | None, list[str], list[str]]:
        """The allowed patterns (None for all), the denied ones, and the settings that switch tools off."""
        allow: list[str] | None = None
        deny: list[str] = []
        settings: list[str] = []
        for where, pattern, is_on in self._rules:
            for own in self._own_parts(pattern, server):
                if not is_on:
                    settings.append(where)
                if own == "*":
                    allow, deny = (None if is_on else []), []
                elif not is_on:
                    deny.append(own)
                elif own in deny:
                    deny.remove(own)
                elif allow is not None:
                    allow.append(own)
        return allow, deny, settings

    def _own_parts(self, pattern: str, server: str) -> list[str]:
        """Patterns for a tool's own name: together they match what the pattern for full names matches of this server."""
        found: dict[str, None] = {}
        for name in (server, re.sub(r"[^A-Za-z0-9_-]", "_", server)):
            for prefix in _PREFIXES[self._tool.name]:
                found |= dict.fromkeys(_rests(pattern, prefix.format(name)))
        return ["*"] if "*" in found else list(found)

    def _read_gemini(self, values: Mapping[str, Any]) -> None:
        servers, tools = _object(values.get("mcp")), _object(values.get("tools"))
        for where, value in (
            ("mcp.excluded", servers.get("excluded")),
            ("excludeMCPServers", values.get("excludeMCPServers")),
        ):
            self._excluded.append((where, _texts(value)))
        for where, value in (
            ("mcp.allowed", servers.get("allowed")),
            ("allowMCPServers", values.get("allowMCPServers")),
        ):
            if value is not None:
                self._allowed.append((where, _texts(value)))
        for where, value in (
            ("tools.exclude", tools.get("exclude")),
            ("excludeTools", values.get("excludeTools")),
        ):
            self._rules += [(where, name, False) for name in _texts(value) if "(" not in name]

    def _read_opencode(self, values: Mapping[str, Any]) -> None:
        for name, value in _object(values.get("tools")).items():
            if isinstance(value, bool):
                self._rules.append(("tools", name, value))
        permission = values.get("permission")
        for name, value in (
            {"*": permission} if isinstance(permission, str) else _object(permission)
        ).items():
            # Rules with patterns are about the arguments; only "*" is about every call.
            action = value.get("*") if isinstance(value, dict) else value
            if isinstance(action, str):
                self._rules.append(("permission", name, action != "deny"))
        # The rules of OpenCode 2, in the order of their precedence.
        rules = values.get("permissions")
        for rule in map(_object, rules if isinstance(rules, list) else ()):
            action, resource, effect = (rule.get(name) for name in ("action", "resource", "effect"))
            if isinstance(action, str) and resource == "*" and isinstance(effect, str):
                self._rules.append(("permissions", action, effect != "deny"))

    def _read_claude(self, values: Mapping[str, Any], locations: Locations) -> None:
        named = self._tool.folder_variable and locations.environment.get(self._tool.folder_variable)
        (user,) = self._tool.files(locations, is_global=True)
        settings = user.parent / "settings.json" if named else locations.home / ".claude" / "settings.json"
        project = locations.project / ".claude"
        files = (user, settings, project / "settings.json", project / "settings.local.json")
        for content in (values, *(read(file) for file in files if file.is_file())):
            folder = _object(_object(content.get("projects")).get(str(locations.project)))
            for part in (content, folder):
                for where in ("disabledMcpServers", "disabledMcpjsonServers"):
                    self._excluded.append((where, _texts(part.get(where))))
            for name in _texts(_object(content.get("permissions")).get("deny")):
                # A rule with parentheses is about some calls only; one without a tool is about all tools of a server.
                if "(" not in name:
                    whole = name.startswith("mcp__") and "__" not in name.removeprefix("mcp__")
                    self._rules.append(("permissions.deny", f"{name}__*" if whole else name, False))


def _rests(pattern: str, prefix: str) -> Iterator[str]:
    """The patterns that are left of a pattern once its beginning has matched the prefix. Only ``*`` and ``?`` are special."""
    for end in range(len(pattern) + 1):
        begin = pattern[:end]
        if fnmatch.fnmatchcase(prefix, begin.replace("[", "[[]")):
            # A star can match more than the prefix.
            rest = ("*" if begin.endswith("*") else "") + pattern[end:]
            if rest:
                yield re.sub(r"\*+", "*", rest)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    values: Iterable[object] = [value] if isinstance(value, str) else value if isinstance(value, list) else ()
    return [one for one in values if isinstance(one, str)]
