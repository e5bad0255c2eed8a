"""Parts of JSON values that may have any shape."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.workbench.inbox import Answer
from conformance.workbench.transcript import Heard, increase, part

VALUE = {"a": [{"b": 1}, {"b": 2}], "c": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [((), VALUE), (("a", 0, "b"), 1), (("a", -1, "b"), 2), (("c",), None)],
)
def test_a_part_is_found_by_names_and_indexes(path: tuple[str | int, ...], found: Any) -> None:
    assert part(VALUE, *path) == found


@pytest.mark.parametrize("path", [("x",), ("a", 2), ("a", -3), ("a", "b"), ("c", "d"), ("c", 0), (0,)])
def test_a_missing_part_is_none(path: tuple[str | int, ...]) -> None:
    assert part(VALUE, *path) is None


@pytest.mark.parametrize("message", [{}, {"result": None}, {"result": []}, {"error": "text"}, {"error": {}}])
def test_an_answer_of_any_shape_has_members_and_a_code(message: dict[str, Any]) -> None:
    answer = Answer(message, "", 0.0)
    assert answer.member("tools", 0) is None
    assert answer.code is None


@pytest.mark.parametrize(
    ("values", "growing"),
    [([], True), ([1, 2.5, 3], True), ([1, 1], False), ([2, 1], False), ([1, "2"], False), ([None], False)],
)
def test_reports_increase_if_each_has_a_greater_number(values: list[Any], growing: bool) -> None:
    assert increase([Heard(0.0, {"params": {"progress": value}}) for value in values]) is growing
