"""Finds the tools that match a few words, the best first.

The score is that of BM25 over the words of a definition, where a word of the name counts most. Words are compared by their stems, so
"created" finds "create"; the beginning of a word counts less than all of it. Libraries for this need numpy, or a stemmer for each
language, which is more than a few hundred short texts are worth.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.surrogates import without_lone_surrogates
from dynamic_mcp.tasks import Slices

#: What a word counts in the name, in the title and description, and in the rest of the definition.
_NAME, _DESCRIPTION, _REST = 4.0, 1.0, 0.25
#: What the beginning of a word counts, and the fewest letters of a beginning.
_BEGINNING = 0.4
_MIN_BEGINNING = 3
#: The constants of BM25.
_SATURATION = 1.2
_LENGTH = 0.5
#: What a name counts that consists of words of the search only.
_WHOLE_NAME = 1.5
#: A tool with less than this part of the best score is left out.
_MIN_PART = 0.25
#: Characters and words of a search, and characters of one definition.
_MAX_SEARCH = 1_000
_MAX_WORDS = 64
_MAX_TEXT = 20_000

_WORD = re.compile(r"[^\s!-/:-@\[-`{-~\u2000-\u206f\u3000-\u303f]+")
_ACCENT = re.compile("[\u0300-\u036f]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Endings of English words. A word loses the first ending of each tuple that fits.
_ENDINGS = (("s",), ("ying", "ing", "ion", "ied", "ie", "er", "or", "al", "ed", "e", "y"), ("s",))
#: The search compares words that begin with this character or a later one by pairs of letters. Thai, Japanese and Chinese need that,
#: because they write sentences without spaces; it also works for scripts with spaces, such as Korean.
_COMPARED_BY_PAIRS = "\u0e00"


class _Definition(msgspec.Struct):
    """The texts of a definition; any of them can be missing or anything."""

    title: Raw = Raw(b"")
    description: Raw = Raw(b"")


class _Found(msgspec.Struct):
    """How often a tool has each word of the search, weighted."""

    name: str
    counts: list[float]
    length: int
    #: words of the name that the search lacks
    others: int


async def rank(tools: Mapping[str, Raw], search: str) -> list[str]:
    """The names of the tools that match the search, the best first. Every tool matches a search without a word."""
    wanted = list(dict.fromkeys(_words(search[:_MAX_SEARCH])))[:_MAX_WORDS]
    if not wanted:
        return list(tools)
    found, length, slices = [], 0, Slices()
    for name, raw in tools.items():
        one = _compare(name, raw, wanted)
        length += one.length
        if any(one.counts):
            found.append(one)
        await slices.rest()
    if not found:
        return await _containing(tools, search)
    having = [sum(1 for one in found if one.counts[place]) for place in range(len(wanted))]
    # A word that few tools have says more; one that all have still says a little.
    weights = [math.log(1 + (len(tools) - count + 0.5) / (count + 0.5)) for count in having]
    scores = {one.name: _score(one, weights, length / len(tools)) for one in found}
    least = _MIN_PART * max(scores.values())
    kept = [one for one in found if scores[one.name] >= least]
    kept.sort(key=lambda one: (-scores[one.name], one.others))
    return [one.name for one in kept]


def text_of(raw: Raw) -> str | None:
    """The text that a JSON value is; None for any other value."""
    try:
        return msgspec.json.decode(without_lone_surrogates(bytes(raw)), type=str)
    except msgspec.DecodeError:
        return None


def descriptions_of(raw: Raw) -> tuple[str, str]:
    """The title and the description of a definition; each can be empty."""
    try:
        definition = _decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return "", ""
    return text_of(definition.title) or "", text_of(definition.description) or ""


_decode = msgspec.json.Decoder(_Definition).decode


def _score(one: _Found, weights: list[float], average: float) -> float:
    size = _SATURATION * (1 - _LENGTH + _LENGTH * one.length / average)
    score = sum(
        weight * count * (_SATURATION + 1) / (count + size)
        for weight, count in zip(weights, one.counts, strict=True)
    )
    score *= sum(map(bool, one.counts)) / len(weights)
    return score if one.others else score * _WHOLE_NAME


def _compare(name: str, raw: Raw, wanted: list[str]) -> _Found:
    title, description = descriptions_of(raw)
    own = _words(name)
    told = _words(f"{title} {description}"[:_MAX_TEXT])
    rest = _words(_readable(raw)[:_MAX_TEXT])
    counts = dict.fromkeys(wanted, 0.0)
    beginnings = tuple(word for word in wanted if len(word) >= _MIN_BEGINNING)
    for words, weight in ((own, _NAME), (told, _DESCRIPTION), (rest, _REST)):
        for word, times in Counter(words).items():
            if word in counts:
                counts[word] += weight * times
            elif word.startswith(beginnings):
                for beginning in filter(word.startswith, beginnings):
                    counts[beginning] += weight * times * _BEGINNING
    return _Found(name, [*counts.values()], len(own) + len(told), sum(word not in wanted for word in own))


def _readable(raw: Raw) -> str:
    """The JSON text of a definition, without the escapes of letters."""
    data = bytes(raw)
    if b"\\u" in data:
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            data = msgspec.json.encode(msgspec.json.decode(without_lone_surrogates(data)))
    return data.decode().replace("\\n", " ")


async def _containing(tools: Mapping[str, Raw], search: str) -> list[str]:
    """The tools that contain each word of the search anywhere, also inside of a word, in their own order."""
    parts, found, slices = _plain(search[:_MAX_SEARCH]).split(), [], Slices()
    for name, raw in tools.items():
        text = _plain(f"{name} {_readable(raw)[:_MAX_TEXT]}")
        if all(part in text for part in parts):
            found.append(name)
        await slices.rest()
    return found


def _plain(text: str) -> str:
    """Letters without case, width and accents."""
    if text.isascii():
        return text.lower()
    import unicodedata

    parts = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFC", _ACCENT.sub("", parts))


def _words(text: str) -> list[str]:
    """The stems of the words of a text; from ``_COMPARED_BY_PAIRS`` on, all pairs of letters of a word instead."""
    words: list[str] = []
    for word in _WORD.findall(_plain(_CAMEL.sub(" ", text))):
        if word < _COMPARED_BY_PAIRS:
            words.append(_stem(word))
        else:
            words += [word[at : at + 2] for at in range(max(len(word) - 1, 1))]
    return words


@lru_cache(4096)
def _stem(word: str) -> str:
    """The part of an English word that its forms share. Words of other languages lose at most an ending, the same one each time."""
    if len(word) > 40 or not word.isascii():
        return word
    for endings in _ENDINGS:
        fitting = [one for one in endings if word.endswith(one) and len(word) - len(one) >= 3]
        if fitting and not word.endswith("ss"):
            word = word.removesuffix(fitting[0])
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
