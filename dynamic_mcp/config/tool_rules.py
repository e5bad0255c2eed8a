"""The section ``tools`` of a server: which of its tools the proxy uses."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from dynamic_mcp.config.model import ToolRules


class ToolsEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``tools`` in the file."""

    allow: list[str] | UnsetType = UNSET
    deny: list[str] | UnsetType = UNSET


def tool_rules(entry: ToolsEntry, location: str) -> ToolRules:
    """The rules; ``location`` is that of the server. Raises ValueError, which begins with the location of a blank pattern."""
    rules = {
        field: tuple(value) for field in ("allow", "deny") if (value := getattr(entry, field)) is not UNSET
    }
    for field, patterns in rules.items():
        for n, pattern in enumerate(patterns):
            if not pattern.strip():
                raise ValueError(
                    f"{location}.tools.{field}[{n}]: is empty; write the name of a tool, or a pattern such as 'read_*'"
                )
    return ToolRules(**rules)
