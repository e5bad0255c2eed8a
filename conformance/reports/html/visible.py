"""Makes text of unknown origin visible: it spells out every character that a browser would hide or obey.

After `visible` a text holds only printable characters, spaces, tabs and line ends. No terminal escape, bidirectional control or zero-width
character hides or reorders anything. The result is still text, which the caller must escape.
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
    """The text itself, or its beginning and the number of the other characters."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} [... {len(text) - longest} characters]"


def cut_front(text: str, longest: int) -> str:
    """The text itself, or the number of the first characters and its end."""
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
