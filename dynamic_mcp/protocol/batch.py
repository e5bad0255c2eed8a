"""The messages of a batch: an array in JSON, which only MCP 2025-03-26 allows."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import cache

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import INVALID_REQUEST, Malformed, no_json

#: The messages of one batch. Each one takes memory and an answer of its own.
MAX_BATCH = 1000


@cache
def _batch_type() -> type[msgspec.Struct]:
    # The decoder makes all elements of a list before it tells their number. It stops at the first field too many.
    fields = [(f"message{number}", Raw, Raw(b"")) for number in range(MAX_BATCH)]
    return msgspec.defstruct("Batch", fields, array_like=True, forbid_unknown_fields=True)


def elements_of(array: bytes) -> Iterator[bytes]:
    """The messages of a JSON array. Raises Malformed, also for an empty array and one of more than ``MAX_BATCH`` messages."""
    try:
        batch = msgspec.json.decode(array.removeprefix(codecs.BOM_UTF8), type=_batch_type())
    except msgspec.ValidationError:
        raise Malformed(INVALID_REQUEST, f"a batch has at most {MAX_BATCH} messages") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise no_json(error) from None
    elements = [raw for raw in msgspec.structs.astuple(batch) if raw]
    if not elements:
        raise Malformed(INVALID_REQUEST, "a batch must not be empty")
    return map(bytes, elements)
