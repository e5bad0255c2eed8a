"""The errors of msgspec in plain words."""

from __future__ import annotations

import msgspec
import pytest

from dynamic_mcp.wording import explain


class Inner(msgspec.Struct):
    name: str | None = None
    count: int = 0


class Outer(msgspec.Struct):
    group: str
    inner: Inner = msgspec.field(default_factory=Inner)
    flags: list[bool] = []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "'group' is missing"),
        ('{"group": 5}', "group must be a string, found a number"),
        ('{"group": null}', "group must be a string, found null"),
        ('{"group": "a", "inner": {"name": []}}', "inner.name must be a string, found an array"),
        (
            '{"group": "a", "inner": {"count": 1.5}}',
            "inner.count must be a whole number, found a decimal number",
        ),
        ('{"group": "a", "flags": [true, "x"]}', "flags[1] must be true or false, found a string"),
        ("[]", "the value must be an object, found an array"),
    ],
)
def test_wrong_value_is_named_with_its_location(text: str, expected: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(text, type=Outer)
    assert explain(error.value) == expected
