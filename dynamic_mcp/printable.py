"""Makes text of servers, models, configurations and files safe for a terminal and a log.

After ``printable``, the text is one line of visible characters and spaces. Each other character is written as JSON writes it
(``\\n``, ``\\u001b``): control characters, line ends, bidirectional controls, zero-width characters and lone surrogates. So no text can
forge a line, move the cursor, or change the order of what a person reads. Letters of every language and emoji stay as they are.
"""

from __future__ import annotations

#: Characters of one line.
MAX_LINE = 4000

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Letters and marks for Python, but blank or without a width on the screen.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_LINE_ENDS = frozenset("\x85\u2028\u2029")


def printable(text: str, most: int | None = MAX_LINE) -> str:
    """The text as one safe line, cut after ``most`` characters of the text; None never cuts.

    The result of a JSON text is the same JSON value.
    """
    rest = 0 if most is None else len(text) - most
    if rest > 0:
        text = text[:most]
    if not text.isascii() or not text.isprintable():
        text = "".join(letter if _is_visible(letter) else _escaped(letter) for letter in text)
    return f"{text}... ({rest} more characters)" if rest > 0 else text


def indented(text: str) -> list[str]:
    """The lines of a text such as a traceback, each of them safe, and indented so that none looks like the beginning of a message."""
    return [f"  {printable(line)}" for line in text.splitlines()]


def escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """An error handler for ``codecs``: what an encoding lacks is written as JSON writes it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_escaped, error.object[error.start : error.end])), error.end


def _is_visible(letter: str) -> bool:
    if letter.isprintable():
        return letter not in _BLANK
    # Spaces with a width, such as the ideographic space of Japanese.
    return letter.isspace() and letter > "\x85" and letter not in _LINE_ENDS


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code > 0xFFFF:
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return _NAMED.get(letter) or f"\\u{code:04x}"
