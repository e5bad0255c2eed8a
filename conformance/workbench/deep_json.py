"""Decodes JSON-RPC messages, also those that are nested too deeply for the decoder of Python."""

from __future__ import annotations

import json
import re
from typing import Any


def decode(line: bytes) -> Any:
    """The value of a line; only the id and the method of a message that is nested too deeply. Raises ValueError."""
    try:
        return json.loads(line)
    except RecursionError:
        found = {name: re.search(rb'"%s"\s*:\s*("[^"\\]*"|\d+)' % name, line) for name in (b"id", b"method")}
        return {name.decode(): json.loads(value[1]) for name, value in found.items() if value is not None}
