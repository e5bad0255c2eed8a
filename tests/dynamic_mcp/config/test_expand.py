"""``${VAR}`` expansion agrees with a scanner that was written without regular expressions."""

from __future__ import annotations

import string
from collections.abc import Mapping

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamic_mcp.config.expand import Expander

FIRST = string.ascii_letters + "_"
REST = FIRST + string.digits

names = st.sampled_from(["A", "B", "_", "a1", "PATH", "A_B"])
# Texts that are almost references find more mistakes than arbitrary texts.
texts = st.lists(
    st.sampled_from(
        ["$", "{", "}", "${", "$$", "${}", "${A", "${1}", "${A B}", "${\u00c5}", "${A\n}", "$A", "\\"]
    )
    | names
    | names.map(lambda name: "${" + name + "}")
    | st.text(max_size=4),
    max_size=12,
).map("".join)
environments = st.dictionaries(names, texts, max_size=4)


def scanned(text: str) -> list[tuple[str, str | None]]:
    """The text in parts, each with the name of its reference or None."""
    pieces: list[tuple[str, str | None]] = []
    at = 0
    while at < len(text):
        end = at + 1
        name = None
        if text[at] == "$" and text[at + 1 : at + 2] == "{":
            after = at + 2
            while after < len(text) and text[after] in (REST if after > at + 2 else FIRST):
                after += 1
            if after > at + 2 and text[after : after + 1] == "}":
                name, end = text[at + 2 : after], after + 1
        pieces.append((text[at:end], name))
        at = end
    return pieces


def expected(text: str, environment: Mapping[str, str]) -> str:
    return "".join(piece if name is None else environment.get(name, piece) for piece, name in scanned(text))


@given(texts, environments)
@settings(max_examples=200)
@example("${A}", {"A": "${B}", "B": "no"})
@example("$${A}}", {"A": ""})
@example("${A}${A}", {"A": "\\1\\g<0>"})
@example("${${A}}", {"A": "B", "B": "no"})
@example("${A\u00c5}${A\u0661}", {"A\u00c5": "no", "A\u0661": "no"})
def test_expansion_agrees_with_the_scanner(text: str, environment: dict[str, str]) -> None:
    assert Expander(environment)(text, "here") == expected(text, environment)


@given(names, texts)
def test_values_are_not_expanded_again(name: str, value: str) -> None:
    others = dict.fromkeys(("A", "B", "_", "a1", "PATH", "A_B"), "expanded twice")
    assert Expander({**others, name: value})("<${" + name + "}>", "here") == f"<{value}>"


@given(st.lists(st.tuples(texts, st.sampled_from(["one", "two", "three"])), max_size=5), environments)
@example([("${A=}${B}", "one")], {})
def test_each_undefined_name_has_one_warning_with_its_locations(
    uses: list[tuple[str, str]], environment: dict[str, str]
) -> None:
    expand = Expander(environment)
    undefined: dict[str, list[str]] = {}
    for text, location in uses:
        expand(text, location)
        for _, name in scanned(text):
            if name is not None and name not in environment:
                undefined.setdefault(name, []).append(location)

    # A text may also hold a reference of another syntax, such as ${A=}.
    warnings = [one for one in expand.warnings() if one.startswith("environment variable")]

    assert len(warnings) == len(undefined)
    for warning, (name, locations) in zip(warnings, undefined.items(), strict=True):
        assert "${" + name + "}" in warning
        assert warning.endswith(" in " + ", ".join(dict.fromkeys(locations)))


def test_warning_contains_no_text_or_value() -> None:
    expand = Expander({"KNOWN": "canary"})
    expand("canary ${KNOWN} canary ${UNKNOWN} canary", "env.TOKEN")
    (warning,) = expand.warnings()
    assert "UNKNOWN" in warning
    assert "canary" not in warning
