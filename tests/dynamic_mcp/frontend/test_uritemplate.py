"""Templates match the same URIs as a regular expression, but in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.frontend.uritemplate import MAX_EXPRESSIONS, MAX_TEMPLATE, MAX_URI, matches

#: the expansions of RFC 6570 as regular expressions, which decide for small texts
_EXPANSIONS = {
    "": r"[^/?#]*",
    "+": r".*",
    "#": r"(?:#.*)?",
    ".": r"(?:\.[^/?#]*)?",
    "/": r"(?:/[^?#]*)?",
    ";": r"(?:;[^/?#]*)?",
    "?": r"(?:\?[^#]*)?",
    "&": r"(?:&[^#]*)?",
}
_LITERALS = st.text("ab/?#.;&:é\n", max_size=4)
_EXPRESSIONS = st.builds(
    "{{{}{}}}".format, st.sampled_from(sorted(_EXPANSIONS)), st.sampled_from(["x", "", "y*"])
)


def by_regular_expression(template: str, uri: str) -> bool:
    parts, at = [], 0
    for found in re.finditer(r"\{([+#./;?&]?)([^{}]*)\}", template):
        parts += [re.escape(template[at : found.start()]), _EXPANSIONS[found[1]]]
        at = found.end()
    return re.fullmatch("".join([*parts, re.escape(template[at:])]), uri, re.DOTALL) is not None


@given(
    st.lists(st.one_of(_LITERALS, _EXPRESSIONS, st.sampled_from("{}")), max_size=6).map("".join),
    st.text("ab/?#.;&:é\n{}x", max_size=10),
)
def test_matches_what_a_regular_expression_matches(template: str, uri: str) -> None:
    assert matches(template, uri) == by_regular_expression(template, uri)


@given(
    st.lists(
        st.tuples(_LITERALS, st.sampled_from(sorted(_EXPANSIONS)), st.text("ab", max_size=3)), max_size=5
    )
)
def test_matches_its_own_expansions(parts: list[tuple[str, str, str]]) -> None:
    template = "".join(f"{literal}{{{operator}v}}" for literal, operator, _ in parts)
    first = {"": "", "+": ""}
    uri = "".join(f"{literal}{first.get(operator, operator)}{value}" for literal, operator, value in parts)
    assert matches(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("".join(f"{{{name}}}" for name in "abcdefghijkl") + "!", "note:" + "a" * 60 + "?!"),
        ("{+a}" * MAX_EXPRESSIONS + "!", "x" * MAX_URI),
        ("{+a}" + "x" * 2000 + "{+b}!{+c}", "x" * MAX_URI),
        ("{a}{;b}" * (MAX_EXPRESSIONS // 2 - 1) + "!{+c}", "x" * MAX_URI),
        ("{" * MAX_TEMPLATE, "{" * MAX_URI),
        ("{a" * (MAX_TEMPLATE // 2), "{a" * (MAX_URI // 2)),
    ],
)
def test_no_template_is_expensive(template: str, uri: str) -> None:
    began = time.process_time()
    assert not matches(template, uri)
    assert time.process_time() - began < 0.5


def test_bounds() -> None:
    assert matches("{+a}" * MAX_EXPRESSIONS, "x")
    assert not matches("{+a}" * (MAX_EXPRESSIONS + 1), "x")
    assert matches("x" * MAX_TEMPLATE, "x" * MAX_TEMPLATE)
    assert not matches("x" * (MAX_TEMPLATE + 1), "x" * (MAX_TEMPLATE + 1))
    assert matches("x{a}", "x" * MAX_URI)
    assert not matches("x{a}", "x" * (MAX_URI + 1))
