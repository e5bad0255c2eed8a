"""How long a server asks to wait before the next request (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

#: Digits of a number of seconds that are read. More are longer than a proxy runs.
_MAX_DIGITS = 9


def seconds_of(value: str | None, date: str | None) -> float:
    """The seconds of a ``Retry-After`` header; 0 without a valid one. ``date`` is the ``Date`` header of the same reply.

    A time is one of the server's clock, so it counts from ``date``.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) <= _MAX_DIGITS else 10.0**_MAX_DIGITS
    end, begin = _time_of(text), _time_of(date or "")
    if end is None:
        return 0.0
    return max(0.0, end - (time.time() if begin is None else begin))


def _time_of(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
