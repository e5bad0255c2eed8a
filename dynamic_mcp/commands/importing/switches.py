"""What a tool's file switches off: whole servers, and single tools of a server. All of it stays off.

A list of approvals (``alwaysAllow``, ``autoApprove``) switches nothing off: the tool then asks the user. Names of fields come from the
documentation of the tools in November 2026; names of one tool are read in the files of every tool, because none means anything else there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

#: Fields of an entry that switch the server on or off.
_ON = ("enabled", "isActive", "isEnabled", "active")
_OFF = ("disabled", "isDisabled", "excluded")
#: Fields of an entry with the only tools in use, and with tools that are not used.
_ALLOW = (
    "includeTools",
    "enabledTools",
    "enabled_tools",
    "allowedTools",
    "allowed_tools",
    "available_tools",
    "tools",
)
_DENY = ("excludeTools", "disabledTools", "disabled_tools", "excludedTools", "deniedTools", "blockedTools")
#: Lists outside of the entries with the only servers in use, and with servers that are not used.
_ALLOWED_SERVERS = ("allowed", "allowMCPServers", "allowedMcpServers")
_EXCLUDED_SERVERS = (
    "excluded",
    "excludeMCPServers",
    "disabledMcpServers",
    "disabledMcpjsonServers",
    "deniedMcpServers",
)


def take_switch(entry: dict[str, Any], note: Callable[[str], None]) -> bool:
    """Take the fields that switch a server off out of its entry: whether it is on. A value that is unclear switches it off."""
    is_on = True
    for names, on in ((_ON, True), (_OFF, False)):
        for name in names:
            value = entry.pop(name, None)
            if isinstance(value, bool):
                is_on &= value is on
            elif value is not None:
                note(f"{name} must be true or false; it counts as switched off")
                is_on = False
    return is_on


def take_tool_rules(entry: dict[str, Any], note: Callable[[str], None]) -> dict[str, list[str]]:
    """Take the lists of tools out of an entry, as the member ``tools`` of the proxy; empty without a restriction."""
    allow: list[str] | None = None
    deny: list[str] = list(_single(entry, note))
    for name in _ALLOW:
        names = _names(entry, name, note)
        if names is not None and "*" not in names:
            # Two lists: a tool has to be in both.
            allow = names if allow is None else [tool for tool in allow if tool in names]
    for name in _DENY:
        deny += (tool for tool in _names(entry, name, note) or () if tool not in deny)
    rules = {} if allow is None else {"allow": [_literal(tool) for tool in allow]}
    return rules | ({"deny": [_literal(tool) for tool in deny]} if deny else {})


def _single(entry: dict[str, Any], note: Callable[[str], None]) -> Iterator[str]:
    """The tools that an object ``tools`` of an entry switches off, each by false or by an object like that of a server."""
    if not isinstance(entry.get("tools"), dict):
        return
    for tool, value in entry.pop("tools").items():
        fields = dict(value) if isinstance(value, dict) else {"enabled": value}
        if not take_switch(fields, lambda text, tool=tool: note(f"tools.{tool}: {text}")):  # type: ignore[misc]
            yield tool
        for field in sorted(fields):
            note(f"tools.{tool}.{field} was left out: the proxy has no such setting")


def _names(entry: dict[str, Any], field: str, note: Callable[[str], None]) -> list[str] | None:
    value = entry.pop(field, None)
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value):
        # Gemini CLI also takes the arguments of a tool in parentheses.
        return [re.sub(r"\(.*\)$", "", name) for name in value]
    note(f"{field} must be a list of names; no tool of the server is used")
    return [] if field in _ALLOW else ["*"]


def _literal(tool: str) -> str:
    """The pattern for a name: a bracket in a name is no set of characters."""
    return tool.replace("[", "[[]")


def switched_off(values: dict[str, Any], folder: str) -> Iterator[tuple[Callable[[str], bool], str]]:
    """The lists of the file that switch servers off: whether a name is off, and the name of the list.

    ``folder`` is the current folder, for which Claude Code has lists of its own.
    """
    projects = values.get("projects")
    holders = {
        "": values,
        "mcp.": values.get("mcp"),
        "projects.": projects.get(folder) if isinstance(projects, dict) else None,
    }
    for where, holder in holders.items():
        if isinstance(holder, dict):
            for field in (*_ALLOWED_SERVERS, *_EXCLUDED_SERVERS):
                if isinstance(holder.get(field), list):
                    listed = frozenset(map(_server_name, holder[field]))
                    is_off = listed.__contains__ if field in _EXCLUDED_SERVERS else _not_in(listed)
                    yield is_off, f"{where}{field}"


def _not_in(listed: frozenset[str]) -> Callable[[str], bool]:
    return lambda name: name not in listed


def _server_name(value: object) -> str:
    name = value.get("serverName") if isinstance(value, dict) else value
    return name if isinstance(name, str) else ""


def opencode_rules(values: dict[str, Any], server: str) -> list[str]:
    """The tools of a server that ``tools`` of OpenCode switches off; its names are ``SERVER_TOOL``, with ``*`` for any rest."""
    tools = values.get("tools")
    prefix = re.sub(r"[^A-Za-z0-9_-]", "_", server) + "_"
    denied = []
    for pattern, is_on in tools.items() if isinstance(tools, dict) else ():
        if is_on is False and pattern.startswith(prefix):
            denied.append(_literal(pattern.removeprefix(prefix)))
        elif is_on is False and pattern.endswith("*") and prefix.startswith(pattern.rstrip("*")):
            denied.append("*")
    return denied
