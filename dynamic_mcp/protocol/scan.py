"""Scans a large JSON document slice by slice, so that other work can run between two slices. It does no input or output.

The decoder cannot stop in the middle, and holds the interpreter for its whole run. So the scan cuts the document before a comma or inside a
string. Then it adds the brackets that are open at the cut, and a quote if the cut is inside a string. So each slice is a document. The
whole document is valid if the decoder accepts all of these. Time and memory are linear in the size, and the scan of an invalid document
ends at its first invalid slice.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import one_line
from dynamic_mcp.protocol.numbers import with_valid_numbers
from dynamic_mcp.protocol.pieces import Part
from dynamic_mcp.protocol.surrogates import MAX_ESCAPES, count_escapes, without_lone_surrogates

#: Bytes of a slice. One of plain text takes 20 µs, the worst ones 5 ms.
SLICE = 1 << 15
#: The longest stretch without a place to cut, for example a number.
MAX_UNCUT = 1 << 20

#: Others hide neither a quote nor the end of a string, and to replace them takes twice the time.
_ESCAPE = re.compile(rb'\\[\\"]')
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_BEGUN = rb"\\(?:u[0-9a-fA-F]{0,3})?"
#: an escape at the end that the next slice continues; a high surrogate belongs to the low one after it
_UNFINISHED = re.compile(rb"((?:%b)?%b|%b)\Z" % (_HIGH, _BEGUN, _HIGH))
_MAX_UNFINISHED = 11
#: in a text without escapes: a string, or what divides members
_TOKEN = re.compile(rb'"[^"]*"?|[\[\]{},]')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ARRAY = ord("[")
_CLOSING = {_ARRAY: ord("]"), ord("{"): ord("}")}
#: how often the scan removes empty pairs of brackets, before it follows the others one by one
_PASSES = 8
_SPACES = (b" ", b"\t", b"\n", b"\r")

_validate = msgspec.json.Decoder(Raw).decode


class Invalid(Exception):
    """The document is not valid JSON, or has a value that the scan cannot cut."""


class TooManyMembers(Exception):
    """The document has more members or elements than the scan allows."""


class Scan:
    """Takes a document slice by slice, and finds the members of its outermost object, or the elements of its outermost array.

    In a member, U+FFFD replaces each lone surrogate, and a space each line end, which only occurs between tokens.
    """

    def __init__(self, max_members: int) -> None:
        #: the first character of the document: a bracket, unless the document is neither an object nor an array
        self.kind = b""
        self.members: list[list[Part]] = [[]]
        self._max_members = max_members
        #: the bytes since the last cut, and how many of them the next attempt to cut needs
        self._rest = b""
        self._needed = 0
        #: the length of the document so far, and from where on ``_rest`` has the bytes with which it ends
        self._size = 0
        self._changed = 0
        #: at the last cut: the open brackets, whether it is inside a string, and whether that string is the name of a member
        self._open = bytearray()
        self._in_string = False
        self._in_name = False
        self._escapes = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        #: whether there was a NaN or Infinity, which is null in ``members``
        self.has_other_numbers = False

    def feed(self, piece: bytes) -> None:
        """Scan the next bytes, at most ``SLICE``. Raises Invalid, TooManyMembers or UnicodeDecodeError."""
        if not piece.isascii() or self._utf8.getstate()[0]:
            self._utf8.decode(piece)
        self._size += len(piece)
        if not self.kind:
            piece = piece.removeprefix(codecs.BOM_UTF8).lstrip()
            self.kind = piece[:1]
            if self.kind not in b"{[":
                raise Invalid
        self._rest += piece
        if len(self._rest) >= self._needed:
            self._try_to_cut()

    def finish(self) -> None:
        """Scan what is left. Raises like ``feed``."""
        self._utf8.decode(b"", True)
        self._take(len(self._rest), _without_escapes(self._rest), in_string=False, is_last=True)

    def _try_to_cut(self) -> None:
        rest, blank = self._rest, _without_escapes(self._rest)
        at, in_string = len(rest), self._is_in_string(blank, len(rest))
        if not in_string:
            if rest.endswith(_SPACES):
                # One space keeps two numbers apart.
                rest = self._rest = rest.rstrip() + b" "
                self._changed = len(rest)
            at = blank.rfind(b",", 0, len(rest))
            in_string = at > 0 and self._is_in_string(blank, at)
        if in_string:
            at = _end_of_escapes(rest, at)
        if at > 0:
            self._needed = 0
            self._take(at, blank, in_string)
            return
        self._needed = 2 * len(rest)
        if len(rest) > MAX_UNCUT:
            raise Invalid

    def _is_in_string(self, blank: bytes, at: int) -> bool:
        # To find one byte takes a thirtieth of the time that counting takes, and most slices of a long text have no quote.
        if (last := blank.rfind(b'"', 0, at)) < 0:
            return self._in_string
        return self._in_string ^ (blank.count(b'"', 0, last + 1) & 1 == 1)

    def _take(self, at: int, blank: bytes, in_string: bool, *, is_last: bool = False) -> None:
        """Validate the bytes up to a cut, and add them to the members."""
        text, blank = self._rest[:at], blank[:at]
        if self._in_string and in_string and b'"' not in blank:
            # The middle of a long text: nothing around it changes.
            valid, _ = self._validated(b'"', text, (b'"',))
            self._keep(valid, 0, len(valid), self._changed if valid is text else len(valid))
            self._pass(at)
            return
        beginning, depth = self._beginning(), len(self._open)
        lowest = self._follow(blank)
        if not (is_last or self._open):
            raise Invalid
        valid, self._in_name = self._validated(
            beginning, text, (b"",) if is_last else self._endings(in_string)
        )
        # From here on the text is that of the document; before, it has to be kept.
        same = self._changed if valid is text else len(valid)
        if len(valid) != at:
            blank = _without_escapes(valid)
        if lowest > 1:
            self._keep(valid, 0, len(valid), same)
        else:
            self._split(valid, blank, depth, same)
        self._in_string = in_string
        self._pass(at)

    def _pass(self, at: int) -> None:
        """Go on behind the cut."""
        self._rest = self._rest[at:]
        self._changed = max(0, self._changed - at)

    def _beginning(self) -> bytes:
        """What makes the bytes after the last cut complete at their beginning."""
        if not self._open:
            return b""
        outer = b"".join(b"[" if one == _ARRAY else b'{"":' for one in self._open[:-1])
        if self._open[-1] == _ARRAY:
            return outer + (b'["' if self._in_string else b"[0")
        if self._in_name:
            return outer + b'{"'
        return outer + (b'{"":"' if self._in_string else b'{"":0')

    def _endings(self, in_string: bool) -> tuple[bytes, ...]:
        """What can make the bytes before a cut complete at their end. The last one of two is for a cut inside a name."""
        is_array = self._open[-1] == _ARRAY
        closing = bytes(_CLOSING[one] for one in reversed(self._open))
        if in_string:
            return (b'"' + closing,) if is_array else (b'"' + closing, b'":0' + closing)
        # Another value shows that one stands before the cut.
        return ((b",0" if is_array else b',"":0') + closing,)

    def _validated(self, beginning: bytes, text: bytes, endings: tuple[bytes, ...]) -> tuple[bytes, bool]:
        """The text as it goes on, and whether the cut is inside a name. Raises Invalid."""
        for candidate in self._candidates(beginning, text):
            for number, ending in enumerate(endings):
                try:
                    _validate(b"".join((beginning, candidate, ending)))
                except (msgspec.DecodeError, RecursionError):
                    continue
                return one_line(candidate), number > 0
        raise Invalid

    def _candidates(self, beginning: bytes, text: bytes) -> Iterator[bytes]:
        """The text, and what it is after a repair."""
        yield text
        if (repaired := without_lone_surrogates(text)) is not text:
            self._escapes += count_escapes(text)
            if self._escapes > MAX_ESCAPES:
                return
            yield repaired
        whole = beginning + repaired
        if (other := with_valid_numbers(whole)) is not whole:
            self.has_other_numbers = True
            yield other.removeprefix(beginning)

    def _follow(self, blank: bytes) -> int:
        """Follow the brackets; the least number of open ones. Raises Invalid."""
        brackets = b"".join(blank.split(b'"')[self._in_string :: 2]).translate(None, _NOT_BRACKETS)
        for _ in range(_PASSES):
            shorter = brackets.replace(b"{}", b"").replace(b"[]", b"")
            if len(shorter) == len(brackets):
                break
            brackets = shorter
        opened, lowest = self._open, len(self._open)
        for one in brackets:
            if one in _CLOSING:
                opened.append(one)
            elif opened and _CLOSING[opened[-1]] == one:
                opened.pop()
                lowest = min(lowest, len(opened))
            else:
                raise Invalid
        return lowest

    def _split(self, text: bytes, blank: bytes, depth: int, same: int) -> None:
        """Add a text to the members, which the commas between them divide."""
        start = 0
        for token in _TOKEN.finditer(blank, blank.find(b'"') + 1 if self._in_string else 0):
            at = token.start()
            match blank[at]:
                case 0x5B | 0x7B:
                    depth += 1
                    if depth == 1:
                        start = at + 1
                case 0x5D | 0x7D:
                    depth -= 1
                    if depth == 0:
                        self._keep(text, start, at, same)
                        return
                case 0x2C if depth == 1:
                    self._keep(text, start, at, same)
                    self.members.append([])
                    if len(self.members) > self._max_members:
                        raise TooManyMembers
                    start = at + 1
        self._keep(text, start, len(text), same)

    def _keep(self, text: bytes, start: int, end: int, same: int) -> None:
        """Add a piece of a text to the last member: its place in the document if it is the same there, else its bytes."""
        member = self.members[-1]
        if start < same:
            member.append(text[start : min(end, same)])
            start = same
        if start < end:
            offset = self._size - len(self._rest)
            before = member[-1] if member else b""
            if isinstance(before, tuple) and before[1] == offset + start:
                member[-1] = before[0], offset + end
            else:
                member.append((offset + start, offset + end))


def _without_escapes(text: bytes) -> bytes:
    """A text of the same length in which no quote is escaped."""
    return _ESCAPE.sub(b"__", text) if b"\\" in text else text


def _end_of_escapes(text: bytes, at: int) -> int:
    """The last place up to ``at``, inside a string, that is not inside an escape or between two that belong together."""
    nearby = max(0, at - _MAX_UNFINISHED)
    if b"\\" not in text[nearby:at]:
        return at
    # Backslashes count from the first one in a row.
    nearby = len(text[:nearby].rstrip(b"\\"))
    blank = text[nearby:at].replace(b"\\\\", b"__")
    found = _UNFINISHED.search(blank)
    return at if found is None else nearby + found.start()
