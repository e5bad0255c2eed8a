"""Values without members of a wrong type, and the bound of that work."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from dynamic_mcp.protocol import shapes
from dynamic_mcp.protocol.shapes import MAX_WRONG, Shape

_ENTRY = Shape({"name": str}, {"title": str})
_PAGE = Shape({}, {"entries": [_ENTRY]})
_STRICT = Shape({"entries": [_ENTRY]}, {})


@pytest.mark.parametrize("wrong", [{}, {"name": "b", "title": 1}])
def test_list_with_too_many_wrong_entries_is_wrong(wrong: object) -> None:
    some, found = [{"name": "a"}, *[wrong] * MAX_WRONG], set[str]()
    right = _PAGE.repaired(json.dumps({"entries": some}).encode(), found)
    assert right is not None
    assert json.loads(right)["entries"][0] == {"name": "a"}

    many = json.dumps({"entries": [*some, wrong]}).encode()
    assert _PAGE.repaired(many, found) == b"{}"
    assert _STRICT.repaired(many, found) is None
    assert "entries" in found


def test_right_entries_beside_wrong_ones_have_no_bound() -> None:
    entries = [{}, *({"name": str(number)} for number in range(3 * MAX_WRONG))]
    right = _PAGE.repaired(json.dumps({"entries": entries}).encode(), set())
    assert right is not None
    assert json.loads(right)["entries"] == entries[1:]


def test_work_ends_after_too_many_wrong_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, repaired = [], shapes._repaired

    def counted(raw: Raw, type: object, wrong: set[str]) -> Raw | None:
        tried.append(raw)
        return repaired(raw, type, wrong)

    monkeypatch.setattr(shapes, "_repaired", counted)
    value = json.dumps({"entries": [{}] * 50 * MAX_WRONG}).encode()
    assert _PAGE.repaired(value, set()) == b"{}"
    assert len(tried) <= MAX_WRONG + 2


def test_list_with_very_many_entries_is_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "MAX_REPAIRED", 5)
    entries = [{"name": str(number)} for number in range(5)]
    assert _PAGE.repaired(json.dumps({"entries": [*entries, {}]}).encode(), set()) == b"{}"
    right = _PAGE.repaired(json.dumps({"entries": [*entries[1:], {}]}).encode(), set())
    assert right is not None
    assert json.loads(right)["entries"] == entries[1:]
