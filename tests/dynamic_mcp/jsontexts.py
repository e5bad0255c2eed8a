"""Strategies for JSON texts as tokens in any spelling, to check that the proxy keeps the spelling."""

from __future__ import annotations

import json

from hypothesis import strategies as st

#: numbers that a decoder would write in another spelling, or cannot hold
NUMBERS = [
    "0",
    "-0",
    "1.0",
    "1E+2",
    "1e400",
    "-1e-400",
    "0.10",
    "12345678901234567890123",
    "9007199254740993",
]

number_texts = st.sampled_from(NUMBERS) | st.integers().map(str)
string_texts = st.builds(json.dumps, st.text(max_size=8), ensure_ascii=st.booleans()) | st.sampled_from(
    [r'"\/"', r'"\u0061"', r'"\n\r\t"', r'"\ud83d\ude00"', '"\x7f\u2028\x85"', r'"\\"', r'"\""']
)


def _array(parts: list[list[str]]) -> list[str]:
    return ["[", *_separated(parts), "]"]


def _object(members: list[tuple[str, list[str]]]) -> list[str]:
    return ["{", *_separated([[name, ":", *value] for name, value in members]), "}"]


def _separated(parts: list[list[str]]) -> list[str]:
    return [token for n, part in enumerate(parts) for token in ([",", *part] if n else part)]


#: a JSON value as its tokens, in any spelling
json_tokens: st.SearchStrategy[list[str]] = st.recursive(
    (number_texts | string_texts | st.sampled_from(["true", "false", "null"])).map(lambda text: [text]),
    lambda inner: (
        st.lists(inner, max_size=3).map(_array)
        | st.lists(st.tuples(string_texts, inner), max_size=3).map(_object)
    ),
    max_leaves=8,
)
