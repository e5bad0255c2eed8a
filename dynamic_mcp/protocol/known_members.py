"""The members of an object whose number the other side decides.

Each member becomes an object of the proxy, which takes thirty times its bytes and a microsecond. The members that MCP defines may be large.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import decode_members

#: Bytes of many other members of an object, and the members that are few. The number of colons is a bound of that of the members.
MAX_OTHERS = 1 << 16
_FEW = 5000


class KnownMembers:
    """The names of the members that MCP defines for an object."""

    def __init__(self, *names: str) -> None:
        self._names = names

    @cached_property
    def _decode(self) -> Callable[[bytes | Raw], msgspec.Struct]:
        """Skips all other members without an object for each."""
        fields = [
            (f"m{number}", Raw, msgspec.field(name=name, default=Raw(b"")))
            for number, name in enumerate(self._names)
        ]
        return msgspec.json.Decoder(msgspec.defstruct("Known", fields, gc=False)).decode

    def has_many_others(self, value: bytes | Raw) -> bool:
        """Whether an object may have thousands of members that are not known. Raises msgspec.DecodeError for anything else."""
        size = memoryview(value).nbytes
        if size <= MAX_OTHERS or bytes(value).count(b":") <= _FEW:
            return False
        known = msgspec.structs.astuple(self._decode(value))
        return size - sum(memoryview(raw).nbytes for raw in known) > MAX_OTHERS

    def decode(self, value: bytes | Raw) -> dict[str, Raw]:
        """All members of an object. Raises msgspec.DecodeError for anything else, and for an object with many others."""
        if self.has_many_others(value):
            raise msgspec.ValidationError("it has too many unknown members")
        return decode_members(value)
