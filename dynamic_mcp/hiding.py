"""Hides the values of the configuration in what a server says about its failure.

A server often prints its arguments when it dies, and its text reaches the client and the model. The text then has ``[hidden]`` in place of
each value of ``MIN_LENGTH`` characters or more. The same holds for a line of such a value, the text after its ``=``, and every part that
looks like a secret. Names of options (``--verbose``) and of programs stay. Encoded forms of a value, such as base64, are not found.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

import msgspec

#: A shorter value could be part of ordinary words.
MIN_LENGTH = 6
#: A part of a value with letters and digits counts as a secret from this length on.
MIN_SECRET = 8
#: What remains of a text: its last lines, and of these the last characters.
MAX_LINES = 5
MAX_CHARACTERS = 600

_HIDDEN = "[hidden]"
#: a text in JSON, and the members of a JSON-RPC error
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_MEMBERS = frozenset({b'"code"', b'"message"', b'"data"'})
_OPTION = re.compile(r"--[A-Za-z][A-Za-z-]*|-[a-z][a-z-]*")
_SEPARATORS = re.compile(r"""[\s"'`=:,;&?@#/\\|(){}\[\]<>]+""")
_SCHEME = r"""["']?(?:(?:Bearer|Basic|Token)\s+)?["']?"""
#: the value of a pair: name=value, "name": value
_PAIR = re.compile(rf"""(?:=\s*+|:\s++|(?<=["']):\s*+){_SCHEME}([^\s&,;"'@]+)""", re.IGNORECASE)
#: a header, or its value alone
_HEADER = re.compile(rf"(?:[\w-]+:(?!//)\s*)?{_SCHEME}(.+)", re.IGNORECASE | re.DOTALL)


class HiddenValues:
    """The values that no text may show."""

    def __init__(self, values: Iterable[str] = (), programs: Iterable[str] = ()) -> None:
        """``programs`` are the commands, whose names stay visible."""
        shown = {name for program in programs for name in (program, os.path.basename(program))}
        found = {part for value in values if not _OPTION.fullmatch(value) for part in _parts(value)}
        self._values = [part for part in found if len(part) >= MIN_LENGTH and part not in shown]
        #: the length of the longest value, in bytes of UTF-8
        self.longest = max((len(part.encode(errors="replace")) for part in self._values), default=0)

    def hide(self, text: str, *, whole: bool = True) -> str:
        """The text without the values. If it is not ``whole``, its beginning may be the end of a value, and is left out."""
        shown: list[str] = []
        at = 0 if whole else self.longest
        for begin, end in sorted(self._places(text)):
            if begin >= at:
                shown += (text[at:begin], _HIDDEN)
            at = max(at, end)
        return "".join((*shown, text[at:]))

    def end_of(self, text: str, *, whole: bool = True) -> str:
        """The last lines of the text, without the values."""
        lines = [line.rstrip() for line in self.hide(text, whole=whole).splitlines() if line.strip()]
        return "\n".join(lines[-MAX_LINES:])[-MAX_CHARACTERS:]

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the values are. Overlapping places of one value are one place."""
        for value in self._values:
            begin = text.find(value)
            while begin >= 0:
                last, size = begin, len(value)
                # The last one that overlaps, because a value of equal letters is at every position of a text of such letters.
                while (further := text.rfind(value, last + 1, last + 2 * size - 1)) >= 0:
                    last = further
                yield begin, last + size
                begin = text.find(value, last + size)


def hide_in_json(raw: bytes, hidden: Sequence[HiddenValues]) -> bytes:
    """JSON whose texts lack the hidden values. Everything else stays the bytes that came, and so do the names of an error's members."""

    def without(text: re.Match[bytes]) -> bytes:
        # JSON writes no text in fewer bytes than the text has characters.
        if len(text[0]) < MIN_LENGTH + 2 or text[0] in _MEMBERS:
            return text[0]
        try:
            found = msgspec.json.decode(text[0], type=str)
        except msgspec.DecodeError:
            # No text has a lone surrogate.
            found = text[0][1:-1].decode(errors="replace")
        shown = found
        for values in hidden:
            shown = values.hide(shown)
        return text[0] if shown == found else msgspec.json.encode(shown)

    return _TEXT.sub(without, raw)


def _parts(value: str) -> Iterator[str]:
    """The value, and the parts of it that a server may show alone."""
    # A program may print a value as its language writes it.
    yield from (value, repr(value)[1:-1], value.replace("\\", "\\\\").replace('"', '\\"'))
    yield from (line.strip() for line in value.splitlines())
    yield value.partition("=")[2]
    if re.match(r"-\w", value):
        yield value[2:]
    yield from _PAIR.findall(value)
    if (header := _HEADER.fullmatch(value)) is not None:
        yield header[1].strip("\"'")
    if "://" in value:
        try:
            address = urlsplit(value)
            yield from (part for part in (address.username, address.password) if part)
        except ValueError:
            pass
    yield from (part for part in _SEPARATORS.split(value) if _looks_secret(part))


def _looks_secret(part: str) -> bool:
    return len(part) >= MIN_SECRET and any(map(str.isdigit, part)) and any(map(str.isalpha, part))
