"""Text of unknown origin made visible: what a browser would not show, or would act on, is written out.

After `visible` a text has printable characters, spaces, tabs and line ends only, so no terminal escape, no
bidirectional control and no zero-width character hides or reorders anything. It is text still: whoever puts it into a
document escapes it.
"""

from __future__ import annotations

_PICTURES = 0x2400
_DELETE, _PICTURE_OF_DELETE = 0x7F, "\u2421"


def visible(text: str) -> str:
    """The text with every unprintable character replaced: ␛ for a control of ASCII, ⟨U+202E⟩ for others."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def cut(text: str, longest: int) -> str:
    """The text itself, or its beginning with the number of characters that are left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} [... {len(text) - longest} characters]"


def cut_front(text: str, longest: int) -> str:
    """The text itself, or its end after the number of characters that are left out."""
    if len(text) <= longest:
        return text
    return f"[{len(text) - longest} characters ...] {text[len(text) - longest :]}"


def _shown(character: str) -> str:
    if character.isprintable() or character in "\t\n":
        return character
    code = ord(character)
    if code < 0x20:
        return chr(_PICTURES + code)
    return _PICTURE_OF_DELETE if code == _DELETE else f"⟨U+{code:04X}⟩"
