"""The members of objects with very many members."""

from __future__ import annotations

import json

import msgspec
import pytest

from dynamic_mcp.protocol.known_members import MAX_OTHERS, KnownMembers

KNOWN = KnownMembers("a", "b")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": ":" * 2 * MAX_OTHERS, "c": 1},
        {"b": {str(number): 1 for number in range(MAX_OTHERS // 5)}},
        {"c": "x" * 2 * MAX_OTHERS},
    ],
)
def test_members_that_mcp_defines_and_few_others_have_no_bound(value: dict[str, object]) -> None:
    found = KNOWN.decode(json.dumps(value).encode())
    assert {name: json.loads(bytes(raw)) for name, raw in found.items()} == value


@pytest.mark.parametrize(
    "value",
    [
        json.dumps({str(number): 1 for number in range(MAX_OTHERS // 5)}),
        "{" + ",".join(['"a":1'] * (MAX_OTHERS // 4)) + "}",
        "[" + '":",' * MAX_OTHERS + "1]",
        "[]",
    ],
)
def test_object_with_many_other_members_is_refused(value: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        KNOWN.decode(value.encode())
