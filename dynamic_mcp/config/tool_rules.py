"""The section ``tools`` of a server: which of its tools the proxy uses."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import UNSET, UnsetType

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.config.places import Path


class ToolsEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``tools`` in the file."""

    allow: list[str] | UnsetType = UNSET
    deny: list[str] | UnsetType = UNSET


def tool_rules(entry: ToolsEntry, report: Callable[..., None], path: Path) -> ToolRules:
    """The rules. ``report`` gets the path and the problem of each blank pattern; ``path`` is that of the section."""
    rules = {
        field: tuple(value) for field in ("allow", "deny") if (value := getattr(entry, field)) is not UNSET
    }
    for field, patterns in rules.items():
        for n, pattern in enumerate(patterns):
            if not pattern.strip():
                report((*path, field, n), "is empty; write the name of a tool, or a pattern such as 'read_*'")
    return ToolRules(**rules)
