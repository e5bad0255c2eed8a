"""Searches the output and the files of a program for secrets, in plain text and in common encodings.

    leaked(proxy.stderr, {"the refresh token": token})
    leaked_into_files([sandbox.tmp], {"the refresh token": token})

The scan finds a secret in plain text, in base64 of both alphabets at any position, and as hexadecimal digits. In each form, any of the
characters may be percent-encoded, or escaped as in JSON or HTML. Limits: it finds no encrypted, compressed or reversed secrets, and no
parts of a secret.
"""

from __future__ import annotations

import base64
import html
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus

from conformance.errors import Violation
from conformance.workbench.regular_files import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: permissions that let other users read a file
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH
#: permissions that let other users enter a folder
_ENTERED_BY_OTHERS = stat.S_IXGRP | stat.S_IXOTH
#: bytes of a file that the scan reads
_MAX_FILE = 16 << 20
_JSON_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|([bfnrt"\\/]))')
_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def leaked(text: str, secrets: Mapping[str, str]) -> list[str]:
    """A line for each secret in the text: its name, its form and the text around it."""
    texts = _decoded(text)
    return [line for name, secret in secrets.items() for line in _first_place(name, secret, texts)]


def _first_place(name: str, secret: str, texts: list[tuple[str, str]]) -> list[str]:
    digits = secret.encode().hex()
    shapes = [("", secret), *(("in base64", shape) for shape in _base64(secret.encode()))]
    shapes += [("hexadecimal", shape) for shape in (digits, digits.upper())]
    for form, shape in shapes:
        for way, text in texts:
            place = text.find(shape)
            if place >= 0:
                how = ", ".join(filter(None, (way, form))) or "in plain text"
                return [f"{name}, {how}: {text[max(0, place - 80) : place + len(shape) + 20]!r}"]
    return []


def leaked_into_files(
    folders: Iterable[Path], secrets: Mapping[str, str], *, readable_by_others: bool = False
) -> list[str]:
    """A line for each regular file at any depth that contains a secret: its mode, its path and what `leaked` finds first.

    With `readable_by_others`, a file does not count if its mode, or that of a folder below these folders, keeps other users away.
    """
    found = []
    for path in _files(folders, _ENTERED_BY_OTHERS if readable_by_others else 0):
        try:
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) or (readable_by_others and not mode & _READABLE_BY_OTHERS):
                continue
            content = content_of(path, _MAX_FILE).decode(errors="replace")
        except (OSError, Violation):
            continue  # gone since the listing
        seen = leaked(content, secrets)
        if seen:
            found.append(f"{stat.S_IMODE(mode):04o} {path}: {seen[0]}")
    return found


def _files(folders: Iterable[Path], entered: int) -> Iterator[Path]:
    """Every file at any depth, without the folders below these whose mode has none of the bits `entered`, unless that is 0."""
    for folder in folders:
        for place, inner, names in os.walk(folder):
            if entered and place != str(folder) and not os.lstat(place).st_mode & entered:
                inner.clear()
                continue
            yield from (Path(place, name) for name in sorted(names))


def _decoded(text: str) -> list[tuple[str, str]]:
    """The text as it is, and after each decoding that changes it."""
    ways = [
        ("percent-encoded", unquote(text)),
        ("percent-encoded", unquote_plus(text)),
        ("in JSON", _without_json_escapes(text)),
        ("in HTML", html.unescape(text)),
    ]
    return [("", text), *(way for way in ways if way[1] != text)]


def _without_json_escapes(text: str) -> str:
    def character(escape: re.Match[str]) -> str:
        return chr(int(escape[1], 16)) if escape[1] else _SHORT_ESCAPES.get(escape[2], escape[2])

    # Two escapes can be the halves of one character.
    return _JSON_ESCAPE.sub(character, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _base64(secret: bytes) -> list[str]:
    """The characters that depend on the secret alone, for each of its offsets in a group of three bytes."""
    shapes = []
    for before, foreign in ((0, 0), (1, 2), (2, 3)):
        whole = bytes(before) + secret
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(whole).decode().rstrip("=")
            shapes.append(text[foreign : len(text) - (1 if len(whole) % 3 else 0)])
    return shapes
