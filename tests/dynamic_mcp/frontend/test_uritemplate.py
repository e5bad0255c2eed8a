"""Templates match every expansion of RFC 6570, and the same URIs as a regular expression, but in linear time."""

from __future__ import annotations

import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.frontend.uritemplate import MAX_EXPRESSIONS, MAX_TEMPLATE, MAX_URI, Matcher

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
#: RFC 3986, section 2.2
_RESERVED = ":/?#[]@!$&'()*+,;="

Value = str | list[str] | dict[str, str] | None

_LITERALS = st.text("ab/?#.;&:é\n", max_size=4)
_EXPRESSIONS = st.builds(
    "{{{}{}}}".format, st.sampled_from(sorted(_EXPANSIONS)), st.sampled_from(["x", "", "y*"])
)


def matches(template: str, uri: str, *, loosely: bool = False) -> bool:
    return Matcher(uri).matches(template, loosely=loosely)


def by_regular_expression(template: str, uri: str) -> bool:
    parts, at = [], 0
    for found in re.finditer(r"\{([+#./;?&]?)([^{}]*)\}", template):
        operator = "+" if not found[1] and "*" in found[2] else found[1]
        parts += [re.escape(template[at : found.start()]), _EXPANSIONS[operator]]
        at = found.end()
    return re.fullmatch("".join([*parts, re.escape(template[at:])]), uri, re.DOTALL) is not None


@given(
    st.lists(st.one_of(_LITERALS, _EXPRESSIONS, st.sampled_from("{}")), max_size=6).map("".join),
    st.text("ab/?#.;&:é\n{}x", max_size=10),
)
def test_matches_what_a_regular_expression_matches(template: str, uri: str) -> None:
    assert matches(template, uri) == by_regular_expression(template, uri)


#: the operators of RFC 6570, appendix A: what begins an expansion, what separates values, and whether values have names. Then what
#: follows the name of an empty value, and which other characters stay as they are.
_OPERATORS = {
    "": ("", ",", False, "", ""),
    "+": ("", ",", False, "", _RESERVED),
    "#": ("#", ",", False, "", _RESERVED),
    ".": (".", ".", False, "", ""),
    "/": ("/", "/", False, "", ""),
    ";": (";", ";", True, "", ""),
    "?": ("?", "&", True, "=", ""),
    "&": ("&", "&", True, "=", ""),
}
_TEXTS = st.text("aé /?#&=%.,:~\U0001f600", max_size=4)
_VALUES = (
    st.none()
    | _TEXTS
    | st.lists(_TEXTS, max_size=3)
    | st.dictionaries(_TEXTS.filter(bool), _TEXTS, max_size=2)
)


def expanded(operator: str, variables: list[tuple[str, str, Value]]) -> str:
    """The expansion of one expression, for variables with a name, a modifier and a value."""
    first, separator, is_named, empty, kept = _OPERATORS[operator]

    def named(name: str, value: str) -> str:
        return f"{name}={value}" if value else name + empty

    def one(name: str, modifier: str, value: Value) -> list[str]:
        if value is None or (not isinstance(value, str) and not value):
            return []
        if isinstance(value, str):
            value = value[: int(modifier[1:])] if modifier.startswith(":") else value
            text = quote(value, safe=kept)
            return [named(name, text) if is_named else text]
        pairs = list(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
        parts = [[quote(part, safe=kept) for part in pair if part is not None] for pair in pairs]
        if modifier == "*" and isinstance(value, dict):
            return [named(*pair) if is_named else "=".join(pair) for pair in parts]
        if modifier == "*":
            return [named(name, item) if is_named else item for (item,) in parts]
        text = ",".join(part for pair in parts for part in pair)
        return [named(name, text) if is_named else text]

    found = [text for variable in variables for text in one(*variable)]
    return first + separator.join(found) if found else ""


@given(
    st.lists(
        st.tuples(
            st.text("ab/:é {", max_size=3).map(lambda text: text.replace("{", "%7B")),
            st.sampled_from(sorted(_OPERATORS)),
            st.lists(
                st.tuples(st.sampled_from("xy"), st.sampled_from(["", "*", ":2"]), _VALUES),
                min_size=1,
                max_size=2,
            ),
        ),
        max_size=4,
    )
)
def test_matches_every_expansion(parts: list[tuple[str, str, list[tuple[str, str, Value]]]]) -> None:
    template = uri = ""
    for literal, operator, variables in parts:
        names = ",".join(name + modifier for name, modifier, _ in variables)
        template += f"{literal}{{{operator}{names}}}"
        # RFC 6570, section 3.1: a literal is encoded where a URI needs that
        uri += quote(literal, safe=_RESERVED + "%") + expanded(operator, variables)
    assert matches(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("docs://caf\u00e9/{name}", "docs://caf%c3%a9/x"),
        ("docs://caf%C3%A9/{name}", "docs://caf\u00e9/x"),
        ("docs://my docs/{name}", "docs://my%20docs/x"),
        ("docs://a~b/{name}", "docs://a%7Eb/x"),
        ("search://{q}", "search://a b\u00fc"),
    ],
)
def test_spellings_of_one_uri_are_equal(template: str, uri: str) -> None:
    assert matches(template, uri)


@given(
    st.lists(st.one_of(_LITERALS, _EXPRESSIONS), max_size=6).map("".join),
    st.text("ab/?#.;&:x", max_size=10),
)
def test_matches_loosely_what_it_matches(template: str, uri: str) -> None:
    assert matches(template, uri, loosely=True) >= matches(template, uri)


def test_a_plain_variable_has_slashes_only_loosely() -> None:
    assert not matches("file://{path}", "file:///etc/hosts")
    assert matches("file://{path}", "file:///etc/hosts", loosely=True)
    assert not matches("file://{path}", "data://x", loosely=True)
    assert matches("repo://{owner}/{path*}/tpl", "repo://me/a/b/tpl")
    assert not matches("repo://{owner}/{path*}/tpl", "repo://me/a/b/other", loosely=True)


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
        ("\U0001f600" * MAX_TEMPLATE, "\U0001f600" * (MAX_URI // 12)),
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
