"""Makes text of an implementation safe for a line, a table cell or a quoted string of a report.

The result holds only printable characters and plain spaces; `lines` also keeps line ends and tabs. It holds no escape sequence, no
bidirectional control and no lone surrogate, which a file cannot hold.
"""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_SPACES = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")


def lines(text: str) -> str:
    """The text with its line ends and tabs, and a replacement for every other invisible character."""
    rows = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(map(_visible, row.split("\t"))) for row in rows)


def one_line(text: str, longest: int | None = None) -> str:
    """The text on one line, with single spaces, cut after `longest` characters."""
    joined = " ".join(_visible(text).split())
    if longest is None or len(joined) <= longest:
        return joined
    return joined[: longest - 1].rstrip() + "…"


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character.isprintable():
        return character
    # Other white space, such as U+00A0, looks like a space.
    return " " if character in _SPACES or character.isspace() else _REPLACEMENT
