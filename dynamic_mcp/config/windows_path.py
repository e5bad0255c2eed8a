"""Finds Windows paths that lost their backslashes: JSON reads ``"C:\\temp"`` with one backslash as ``C:``, a tab and ``emp``."""

from __future__ import annotations

import re

_DRIVE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]:[\\\b\f\n\r\t]")
_NAMED = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROL = re.compile("[\b\f\n\r\t]")


def broken_escape(value: str) -> str | None:
    """The first escape, such as ``\\t``, that JSON read in a text with a Windows path; None for any other text."""
    drive = _DRIVE.search(value)
    control = _CONTROL.search(value, drive.start()) if drive else None
    return _NAMED[control[0]] if control else None


def warning(location: str, escape: str) -> str:
    """The sentence for the author of the file."""
    return (
        f"{location}: JSON reads {escape} in this Windows path as one character; "
        "write two backslashes for each, as in C:\\\\temp"
    )
