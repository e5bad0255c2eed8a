"""The notifications that carry the progress of a request, whose id is the token (MCP 2025-11-25, basic/utilities/progress)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.nulls import without_nulls
from dynamic_mcp.protocol.pending import Pending
from dynamic_mcp.protocol.shapes import META, Shape

#: The largest params of a progress notification in bytes. Their members become objects, which take thirty times as much.
MAX_PROGRESS = 1 << 20


class _Progress(msgspec.Struct):
    token: Raw = msgspec.field(name="progressToken")
    progress: float


_decode = msgspec.json.Decoder(_Progress).decode
_SHAPE = Shape({}, {"total": float, "message": str, **META})


def deliver(
    params: Raw,
    requests: Mapping[int, Pending],
    now: float,
    on_oddity: Callable[[str], None] = lambda what: None,
) -> bool:
    """Pass a notification on to its request, if the progress grows; false if the params are not those of a progress notification.

    ``now`` is the loop time. Also progress that does not grow gives the request more time, because some servers only report that they work.
    Progress of an unknown request reaches no request, but it is a sign of life. The request gets the members without those of a wrong type,
    which ``on_oddity`` reports.
    """
    try:
        found = _decode(params)
    except msgspec.DecodeError:
        return False
    # The token is the id of the request.
    token = whole_number(bytes(found.token))
    request = None if token is None else requests.get(token)
    if request is None or request.on_progress is None:
        return True
    request.progressed(now)
    if found.progress > request.last_progress:
        if memoryview(params).nbytes > MAX_PROGRESS:
            log.debug("dropped a progress notification larger than %s", jsonrpc.format_size(MAX_PROGRESS))
        elif (valid := _valid(bytes(params), on_oddity)) is not None:
            request.last_progress = found.progress
            request.on_progress(jsonrpc.decode_members(valid))
    return True


def _valid(params: bytes, on_oddity: Callable[[str], None]) -> bytes | None:
    """The params without members of a wrong type; None for large ones with such a member."""
    value = without_nulls(params)
    right = _SHAPE.repaired(value, set())
    if right is not value:
        on_oddity("sends progress with members of a wrong type, which the proxy leaves out")
    return right
