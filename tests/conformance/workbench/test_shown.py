"""What a check saw is text for people, not Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from conformance.workbench.inbox import Answer
from conformance.workbench.shown import show
from conformance.workbench.transcript import Heard
from mock_servers.journal_views import Request


@dataclass
class Named:
    a: int
    b: list[str]
    hidden: int = field(default=0, repr=False)


@dataclass
class Speaking:
    a: int

    def __str__(self) -> str:
        return f"number {self.a}"


@dataclass
class Represented:
    a: int

    def __repr__(self) -> str:
        return f"<{self.a}>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (["text", 1, 1.5, None, True], '["text", 1, 1.5, null, true]'),
        ({"a": ("b",)}, '{"a": ["b"]}'),
        ({"b", "a"}, '["a", "b"]'),
        (b"caf\xc3\xa9 \xff", '"café \\\\xff"'),
        (["\u202e\x1b"], '["\\u202e\\u001b"]'),
        (["\ud800"], '["\\ud800"]'),
        ([Heard(1.0, {"method": "ping"})], '[{"method": "ping"}]'),
        ([Answer({"id": 1}, '{"id":1}', 1.0)], '[{"id":1}]'),
        ([Request(1.0, 2, {"id": 1}, '{"id":1}')], '[{"id":1}]'),
        ([Named(1, ["x"])], '[a 1, b ["x"]]'),
        ([Speaking(1), Represented(2)], "[number 1, <2>]"),
        (ValueError("no"), "no"),
    ],
)
def test_a_value_is_shown_as_text_for_people(value: Any, text: str) -> None:
    assert show(value) == text


def test_a_deep_value_is_cut() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    assert show(deep).endswith("...]" + "]" * 30)
