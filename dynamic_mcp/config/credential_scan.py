"""Credentials that stand in the configuration file as they are, and whether others can read it.

A credential is an ``Authorization`` header, a password in an address, or a header, env value or query parameter whose name says token,
secret, password or key; a value that refers to a variable is none. It is told where they are, never what they are. Only the mode of
the file itself is looked at: a folder above that is closed to others may be opened, or the file copied, by somebody who does not think
of it.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from dynamic_mcp.config.expand import REFERENCE

#: "MAX_TOKENS", "MONKEY", "KEYBOARD", "TOKENIZERS_PARALLELISM" and "TLS_KEY_FILE" say none of these.
_TELLING = re.compile(
    r"(token|secrets?|passwords?|passwd|((?<![a-z])|api|access|private)keys?)(?![a-z])(?!_?(file|path|dir)\b)",
    re.IGNORECASE,
)


def credentials(
    env: Mapping[str, str], headers: Mapping[str, str], url: str | None, place: str
) -> Iterator[str]:
    """The places of credentials in one server's entry, whose values are as they were written."""
    for field, values in (("env", env), ("headers", headers)):
        for name, value in values.items():
            telling = _TELLING.search(name) or (field == "headers" and name.lower() == "authorization")
            if telling and _is_literal(value):
                yield f"{place}.{field}.{name}"
    if url is not None and _has_credentials(url):
        yield f"{place}.url"


def _is_literal(value: str) -> bool:
    return bool(value.strip()) and not REFERENCE.search(value)


def _has_credentials(url: str) -> bool:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        # A reference in the place of the host can look like anything.
        return False
    named = parse_qsl(parts.query)
    return _is_literal(password or "") or any(
        _TELLING.search(name) and _is_literal(value) for name, value in named
    )


def warning(origin: str, status: os.stat_result, places: Sequence[str]) -> str:
    """What to say about a file with this status and credentials at these places; empty when there is nothing to say."""
    mode = stat.S_IMODE(status.st_mode)
    if not places or sys.platform == "win32" or not stat.S_ISREG(status.st_mode) or not mode & 0o044:
        return ""
    return (
        f"{origin}: can be read by others (mode {mode:o}) and holds what looks like credentials: {', '.join(places)}; "
        "close it (chmod 600) and write ${VARIABLE} in their place"
    )
