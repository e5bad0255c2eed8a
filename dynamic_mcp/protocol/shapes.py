"""The types of members that MCP defines, and values without those members that have another type.

Official clients check the types of a whole message, and drop the message for one wrong member. The proxy merges what many servers send, so
a wrong member of one server would cost the others. A value without a wrong member keeps its bytes. So does a large one whose lists would
become many objects. An optional member may be null, because ``nulls`` removes it. Unknown members stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias, get_origin

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dynamic_mcp.protocol.jsonrpc import NULL, decode_members
from dynamic_mcp.protocol.pieces import LARGE


class AnyObject(msgspec.Struct, gc=False):
    """Any JSON object. Its members leave nothing in memory, however many it has."""


#: A type for msgspec, a shape, or a list of objects of one shape.
Type: TypeAlias = Any

#: Wrong entries that a list may have. More of them make the list wrong, because each one costs as much as an object.
MAX_WRONG = 100
#: Entries of a list that is repaired, because all become objects. The number of commas is a bound of their number.
MAX_REPAIRED = 20_000

_decode_entries = msgspec.json.Decoder(list[Raw]).decode


class Shape:
    """The members of an object whose types clients check."""

    def __init__(self, required: Mapping[str, Type], optional: Mapping[str, Type]) -> None:
        self._required = required.keys()
        self._types = {**required, **optional}
        #: of all its members
        self.names = self._types.keys()
        self.has_lists = any(map(_has_lists, self._types.values()))

    @cached_property
    def struct(self) -> type[msgspec.Struct]:
        """The type for msgspec. Its making takes a tenth of a millisecond, and many proxies need few of them."""
        fields: list[tuple[str, Any, Any]] = []
        for name, type in self._types.items():
            known, is_required = _known(type), name in self._required
            field = msgspec.field(name=name) if is_required else msgspec.field(name=name, default=UNSET)
            fields.append((f"m{len(fields)}", known if is_required else known | UnsetType | None, field))
        return msgspec.defstruct("Members", fields, gc=False)

    @cached_property
    def _decode(self) -> Callable[[bytes], msgspec.Struct]:
        return msgspec.json.Decoder(self.struct).decode

    def repaired(self, value: bytes, wrong: set[str]) -> bytes | None:
        """The object without optional members of another type, whose names ``wrong`` gets; the same bytes if all are right.

        None if the value is no object, or a required member is missing or has another type; ``wrong`` gets its name too. A large object
        with a wrong member is None too.
        """
        is_large = len(value) > LARGE
        if is_large and self.has_lists:
            return value
        try:
            self._decode(value)
        except msgspec.ValidationError:
            return None if is_large else self._without_wrong(value, wrong)
        return value

    def _without_wrong(self, value: bytes, wrong: set[str]) -> bytes | None:
        if value[:1] != b"{":
            return None
        kept: dict[str, Raw] = {}
        for name, raw in decode_members(value).items():
            if name not in self._types or (name not in self._required and bytes(raw) == NULL):
                kept[name] = raw
            elif (right := _repaired(raw, self._types[name], wrong)) is not None:
                kept[name] = right
            else:
                wrong.add(name)
        missing = self._required - kept.keys()
        wrong |= missing
        return None if missing else msgspec.json.encode(kept)


def _has_lists(type: Type) -> bool:
    if isinstance(type, Shape):
        return type.has_lists
    origin: object = get_origin(type)
    return isinstance(type, list) or origin is list


def _known(type: Type) -> Any:
    """The type for msgspec."""
    if isinstance(type, list):
        return list[type[0].struct]  # type: ignore[misc]
    return type.struct if isinstance(type, Shape) else type


def _repaired(raw: Raw, type: Type, wrong: set[str]) -> Raw | None:
    """The value of a member without what is wrong in it; None if nothing of it can stay."""
    if isinstance(type, Shape):
        right = type.repaired(bytes(raw), wrong)
        return None if right is None else Raw(right)
    if isinstance(type, list):
        if bytes(raw)[:1] != b"[" or bytes(raw).count(b",") >= MAX_REPAIRED:
            return None
        return _repaired_list(_decode_entries(raw), type[0], wrong)
    try:
        msgspec.json.decode(raw, type=type)
    except msgspec.ValidationError:
        return None
    return raw


def _repaired_list(entries: list[Raw], type: Type, wrong: set[str]) -> Raw | None:
    """The list without wrong entries; None if it has more than ``MAX_WRONG``."""
    kept: list[Raw] = []
    faults = 0
    for entry in entries:
        right = _repaired(entry, type, wrong)
        if right is not None:
            kept.append(right)
        if right is None or right != entry:
            faults += 1
            if faults > MAX_WRONG:
                return None
    return Raw(msgspec.json.encode(kept))


#: A whole number, in any spelling.
WHOLE = Annotated[float, msgspec.Meta(multiple_of=1)]
#: A number between 0 and 1.
FRACTION = Annotated[float, msgspec.Meta(ge=0, le=1)]
#: An ISO 8601 time with its offset, as the TypeScript SDK reads it.
_TIME = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"
)

META: Mapping[str, Type] = {"_meta": AnyObject}
ANNOTATIONS = Shape(
    {},
    {
        "audience": list[Literal["user", "assistant"]],
        "priority": FRACTION,
        "lastModified": Annotated[str, msgspec.Meta(pattern=_TIME)],
    },
)
ICON = Shape({"src": str}, {"mimeType": str, "sizes": list[str], "theme": Literal["light", "dark"]})
