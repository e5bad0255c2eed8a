"""Text of an implementation made fit for a line, a table cell or a quoted string of a report.

Whatever comes in, the result has printable characters and plain spaces only (`lines` keeps line ends and
tabs too): no escape sequence, no bidirectional control, no lone surrogate that a file cannot hold.
"""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_SPACES = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")


def lines(text: str) -> str:
    """The text with its line ends and tabs, and every other character that cannot be seen replaced."""
    return "".join(_visible(character, keep="\n\t") for character in text.replace("\r\n", "\n"))


def one_line(text: str, longest: int | None = None) -> str:
    """The text on one line, cut after `longest` characters, its white space run together."""
    joined = " ".join("".join(_visible(character) for character in text).split())
    if longest is None or len(joined) <= longest:
        return joined
    return joined[: longest - 1].rstrip() + "…"


def _visible(character: str, keep: str = "") -> str:
    if character.isprintable() or character in keep:
        return character
    # White space that is neither a space nor kept; U+00A0 and its like are spaces to a reader.
    return " " if character in _SPACES or character.isspace() else _REPLACEMENT
