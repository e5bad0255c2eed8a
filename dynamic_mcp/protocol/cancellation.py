"""``notifications/cancelled``, as the other side of a connection sends it."""

from __future__ import annotations

import msgspec
from msgspec import Raw

#: The own requests that the other side can cancel (MCP 2026-07-28, basic/patterns/cancellation).
CANCELLED_BY_RECEIVER = frozenset({"subscriptions/listen"})


class _Params(msgspec.Struct):
    id: Raw = msgspec.field(name="requestId", default=Raw(b""))


_decode = msgspec.json.Decoder(_Params).decode


def cancelled_id(params: Raw) -> bytes:
    """The id of the cancelled request, as JSON; empty if there is none."""
    try:
        return bytes(_decode(params).id)
    except msgspec.DecodeError:
        return b""
