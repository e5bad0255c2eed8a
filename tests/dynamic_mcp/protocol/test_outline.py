"""The outline of a value has everything that a search for its members needs."""

from __future__ import annotations

import json

import pytest

from dynamic_mcp.protocol.outline import LONG, without_long_texts

TEXT = "x" * (LONG + 1)


def test_long_texts_are_emptied_and_the_rest_stays() -> None:
    value = json.dumps({"a": [TEXT, None, "short", TEXT], "uri": "file:///b", "c": [1, 2]}).encode()
    assert json.loads(without_long_texts(value)) == {
        "a": ["", None, "short", ""],
        "uri": "file:///b",
        "c": [1, 2],
    }


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(json.dumps({"a": None}).encode(), id="small"),
        pytest.param(json.dumps({"a": f'{TEXT}"uri"'}).encode(), id="quotes inside"),
        pytest.param(json.dumps({"a": f"{TEXT}\\"}).encode(), id="a backslash at the end"),
        pytest.param(json.dumps({str(number): TEXT for number in range(20)}).encode(), id="many strings"),
        pytest.param(b'{"a":"' + TEXT.encode(), id="no end"),
        pytest.param(json.dumps({"a": TEXT * 600}).encode(), id="very large"),
    ],
)
def test_other_values_stay_the_same(value: bytes) -> None:
    assert without_long_texts(value) is value
