"""Tells an answer from a log line in JSON, which may have an id too, and has other members beside it."""

from __future__ import annotations

import msgspec
from msgspec import Raw


class _KnownMembers(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The members of an answer."""

    jsonrpc: Raw = Raw(b"")
    id: Raw = Raw(b"")
    result: Raw = Raw(b"")
    error: Raw = Raw(b"")


def is_no_log_line(line: bytes) -> bool:
    """Whether a JSON object without a valid ``jsonrpc`` can be an answer, because it has only members of one."""
    try:
        msgspec.json.decode(line, type=_KnownMembers)
    except msgspec.ValidationError:
        return False
    except msgspec.DecodeError:
        # It has a lone surrogate, as an answer may.
        return True
    return True
