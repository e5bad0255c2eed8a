"""The fields of an entry by which a tool's file switches a server off. A server that is off stays off, also if the value is unclear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: The field names of all tools; none of them means anything else in another tool.
_ON = ("enabled", "isActive", "isEnabled", "active")
_OFF = ("disabled", "isDisabled", "excluded")
SWITCHES = frozenset((*_ON, *_OFF))


def take_switch(entry: dict[str, Any], note: Callable[[str], None]) -> bool:
    """Take these fields out of an entry: whether the server is on."""
    is_on = True
    for names, on in ((_ON, True), (_OFF, False)):
        for name in names:
            value = entry.pop(name, None)
            if isinstance(value, bool):
                is_on &= value is on
            elif value is not None:
                note(f"{name} must be true or false; the server is switched off")
                is_on = False
    return is_on
