"""Writes the configuration of a check in the form that the profile of the program describes.

A check describes its servers in the form of dynamic-mcp. What the program has no place for is `NotApplicable`, unless it changes nothing
that a check can see: a description.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from conformance.errors import NotApplicable
from conformance.model.profile_tables import ConfigTable, put

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the members of an entry that a program can ignore or lack, and still do all that a check observes
HARMLESS = frozenset({"description"})

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h)")


def rendered(
    config: ConfigTable, servers: Mapping[str, Mapping[str, Any]], extra: Mapping[str, Any] | None
) -> str:
    """The text of a configuration with these server entries, and `extra` at its root. Raises `NotApplicable`."""
    entries = {name: entry_in(config, entry) for name, entry in servers.items()}
    if dropped := sorted((extra or {}).keys() & set(config.drop)):
        raise NotApplicable(f"the check sets {dropped[0]!r} for all servers, which the program does not have")
    whole: dict[str, Any] = {}
    put(whole, config.servers, entries)
    return _text(config, {**whole, **(extra or {})})


def translated(config: ConfigTable, text: str | bytes) -> str | bytes:
    """A text in the form of dynamic-mcp in that of the program; unchanged if it is no such text. Raises `NotApplicable`."""
    if config.is_plain:
        decoded = text if isinstance(text, str) else text.decode(errors="replace")
        needs_variables(config, decoded)
        return text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    servers = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(servers, dict) or not all(isinstance(entry, dict) for entry in servers.values()):
        return text
    own = rendered(config, servers, {name: part for name, part in content.items() if name != "mcpServers"})
    # A check can be about the text itself, such as a member that an object has twice.
    return text if json.loads(own) == content else own


def entry_in(config: ConfigTable, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A server entry in the form of the program. Raises `NotApplicable` for a member that the program does not have."""
    found: dict[str, Any] = {}
    for name, value in entry.items():
        if name in config.drop:
            if name not in HARMLESS:
                raise NotApplicable(f"the check sets {name!r} of a server, which the program does not have")
        elif name == "timeout":
            _put_timeout(config, found, value)
        else:
            put(found, config.rename.get(name, name), value)
    return found


def needs_variables(config: ConfigTable, text: str) -> None:
    """Raise `NotApplicable` if a text refers to an environment variable and the program has no such references."""
    if not config.variables and "${" in text:
        raise NotApplicable(
            "the check uses ${NAME} in the configuration, and the program has no variables there"
        )


def _put_timeout(config: ConfigTable, found: dict[str, Any], value: Any) -> None:
    """A timeout for all requests, or one for each kind. A program with one number for all gets that of the tools."""
    place = config.rename.get("timeout", "timeout")
    parts = value if isinstance(value, dict) else {}
    if dropped := sorted(kind for kind in parts if f"timeout.{kind}" in config.drop):
        raise NotApplicable(f"the check sets the timeout of {dropped[0]}, which the program does not have")
    own = {kind: config.rename.get(f"timeout.{kind}") for kind in parts}
    rest = {kind: _in_units(config, part) for kind, part in parts.items() if own[kind] is None}
    for kind, where in own.items():
        if where is not None:
            put(found, where, _in_units(config, parts[kind]))
    if not parts:
        put(found, place, _in_units(config, value))
    elif rest and config.units == "text":
        put(found, place, rest)
    elif rest.keys() == {"tools"}:
        put(found, place, rest["tools"])
    elif rest:
        raise NotApplicable(
            f"the check sets timeouts for {', '.join(sorted(rest))}, and the program has one for all"
        )


def _in_units(config: ConfigTable, value: Any) -> Any:
    """A duration as the program takes it; unchanged if it is no duration, because then a check is about that."""
    if (
        config.units == "text"
        or not isinstance(value, str)
        or _PART.sub("", value).strip()
        or not value.strip()
    ):
        return value
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
    scaled = seconds * (1000 if config.units == "milliseconds" else 1)
    return int(scaled) if scaled == int(scaled) else scaled


def _text(config: ConfigTable, content: Mapping[str, Any]) -> str:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    needs_variables(config, text)
    return text
