"""The names that the patterns of a profile give tools, prompts and resources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from conformance.model.profile_tables import Names


def formatted(pattern: str, **fields: str) -> str:
    """The pattern with its fields replaced, in one pass, so that a value can contain braces."""
    return re.sub(r"\{(\w+)\}", lambda field: fields.get(field[1], field[0]), pattern)


def by_pattern(names: Names, method: str, group: str, own: str, *, alone: bool) -> str | None:
    """The name that the profile's pattern gives an item of this list method; None without a pattern."""
    if method == "prompts/list":
        pattern = names.pattern("prompt", alone=alone)
        return formatted(pattern, server=group, prompt=own) if pattern else None
    pattern = names.pattern("uri", alone=alone)
    scheme, _, rest = own.partition("://")
    fields = {"server": group, "uri": own, "scheme": scheme, "rest": rest, "quoted": quote(own, safe="")}
    return formatted(pattern, **fields) if pattern else None
