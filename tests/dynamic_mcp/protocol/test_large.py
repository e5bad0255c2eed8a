"""A large message means what the decoder reads in it, wherever the scan cuts it, and no slice of it takes long."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import msgspec
import pytest
from msgspec import Raw

from dynamic_mcp.protocol import jsonrpc, large
from dynamic_mcp.protocol.batch import MAX_BATCH
from dynamic_mcp.protocol.jsonrpc import Malformed, Message
from dynamic_mcp.protocol.pieces import Large, Line, edges_of
from dynamic_mcp.protocol.surrogates import without_lone_surrogates

MIB = 1 << 20
#: Seconds of processor time that one slice may take. One go takes 60 to 330 ms for the messages below.
SLICE_TIME = 0.03

_CHARACTERS = ["a", ",", "{", "]", "[", "}", ":", " ", "é", "😀", r"\"", r"\\", r"\n", r"\/", r"\u00e9"]
_HALVES = [r"\ud83d", r"\ude00", r"\ud83d\ude00"]
_SCALARS = ["0", "-1", "1.5e9", "true", "false", "null", "123456789012345678901234567890"]
_SPACES = ["", "", "", " ", "\n", "\r\n", " \t "]
_BREAKS = [b",", b"[", b"]", b"{", b"}", b'"', b":", b"0", b" ", b"\\", b"\xff", b"\n", b"\\u", b"\x01"]


class Documents:
    """Random JSON documents, some of them with mistakes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> bytes:
        """A document that is an object or an array."""
        text = self._container(0).encode()
        for _ in range(self._random.choice([0, 0, 1, 2])):
            at = self._random.randrange(len(text) + 1)
            text = text[:at] + self._random.choice([b"", *_BREAKS]) + text[at + self._random.randrange(2) :]
        return text

    def _value(self, depth: int) -> str:
        if depth < 5 and self._random.random() < 0.5:
            return self._container(depth)
        return self._random.choice([*_SCALARS, self._string()])

    def _container(self, depth: int) -> str:
        values = [self._value(depth + 1) for _ in range(self._random.randrange(6))]
        if self._random.random() < 0.5:
            return "[" + ",".join(self._space() + value + self._space() for value in values) + "]"
        members = (self._space() + self._string() + self._space() + ":" + value for value in values)
        return "{" + ",".join(members) + self._space() + "}"

    def _string(self) -> str:
        length = self._random.choice([0, 1, 3, 10, 30])
        return '"' + "".join(self._random.choices([*_CHARACTERS, *_HALVES], k=length)) + '"'

    def _space(self) -> str:
        return self._random.choice(_SPACES)


def expected(text: bytes) -> list[bytes] | None:
    """What the decoder reads: the elements of an array, or the values of an object; None for an invalid document."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return None
    for candidate in (text, without_lone_surrogates(text)):
        try:
            if candidate.lstrip()[:1] == b"[":
                return [bytes(raw) for raw in msgspec.json.decode(candidate, type=list[Raw])]
            return [bytes(raw) for raw in msgspec.json.decode(candidate, type=dict[str, Raw]).values()]
        except msgspec.DecodeError:
            continue
    return None


def joined(line: Line) -> bytes:
    return line if isinstance(line, bytes) else line.gather([(0, line.size)])


def compact(text: bytes) -> bytes:
    return msgspec.json.format(text, indent=-1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 16, 100])
async def test_scan_agrees_with_the_decoder(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SLICE", size)
    documents, valid = Documents(size), 0
    for _ in range(1500):
        text = documents.next()
        values = expected(text)
        # The array has the document as its only element, so its parts come back as a whole.
        try:
            (found,) = await large.elements_of(Large([b"[", text, b"]"]))
        except (Malformed, ValueError):
            assert values is None or not text.strip(), text
            continue
        element = joined(found)
        if values is None:
            pytest.fail(f"accepted {text!r}")
        valid += 1
        assert b"\n" not in element
        assert [*map(compact, expected(element) or [])] == [*map(compact, values)], text
    assert valid > 500


MESSAGES = [
    b'{"jsonrpc":"2.0","id":1,"result":{"a":[1,2,{"b":"c"}]}}',
    b'{"jsonrpc":"2.0","id":"a,b","method":"m","params":{"x":1.0e5}}',
    b' { "result" : [ ] , "id" : 7 , "jsonrpc" : "2.0" } ',
    rb'{"jsonrpc":"2.0","\u0069d":1,"error":{"code":1,"message":"\"}"}}',
    b'{"jsonrpc":"2.0","id":1,"result":1,"result":{"later":[]}}',
    b'{"jsonrpc":"2.0","id":1,"result":"x","other":[{}]}',
]


@pytest.mark.parametrize("bound", [1, 5, 1000])
@pytest.mark.parametrize("text", MESSAGES)
async def test_message_is_that_of_the_decoder(
    text: bytes, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "MAX_SMALL", bound)
    monkeypatch.setattr(large, "SLOW_COPY", bound)
    message, right = await large.parse(Large([text[:20], text[20:]])), jsonrpc.parse(text)
    for name in Message.__struct_fields__:
        one, other = getattr(message, name), getattr(right, name)
        same = one == other if isinstance(other, str | None) else bytes(one).strip() == bytes(other).strip()
        assert same, (name, bytes(one), bytes(other))


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":"\xff"}', -32700, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"result":[1,]}', -32700, b"null"),
        (b'{"jsonrpc":"2.0","id":1,"result":[1]', -32700, b"null"),
        (b'{"jsonrpc":"2.0","id":1,"result":[1]}}', -32700, b"null"),
        (b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000, -32700, b"null"),
        (b'{"jsonrpc":"2.0","id":1}', -32600, b"1"),
        (b'{"jsonrpc":"2.0","method":5,"id":1}', -32600, b"1"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"m"}]', -32600, b"null"),
        (b'"text"', -32600, b"null"),
        (b"   ", -32700, b"null"),
        (b"{" + b",".join(b'"%d":0' % number for number in range(1001)) + b"}", -32600, b"null"),
    ],
)
async def test_malformed_message_has_a_code_and_an_id(text: bytes, code: int, id: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        await large.parse(Large([text]))
    assert (caught.value.code, caught.value.id) == (code, id)


async def test_batch_has_a_maximum() -> None:
    elements = await large.elements_of(Large([b"[", b"{}," * (MAX_BATCH - 1), b"{}]"]))
    assert elements == [b"{}"] * MAX_BATCH
    for text in (b"[" + b"{}," * MAX_BATCH + b"{}]", b"[ ]", b"{}"):
        with pytest.raises(Malformed):
            await large.elements_of(Large([text]))


def test_edges_of_a_large_message() -> None:
    line = Large([b"abc", b"d", b"efgh"])
    assert edges_of(line, 4) == (b"abcd", b"efgh")
    assert edges_of(line, 100) == (b"abcdefgh", b"abcdefgh")


def _line(begin: bytes, piece: bytes, size: int, end: bytes = b"") -> Large:
    return Large([begin, *[piece] * (size // len(piece)), end])


_BEGIN = b'{"jsonrpc":"2.0","id":1,"result":'

COSTLY: dict[str, Callable[[], Large]] = {
    "objects": lambda: _line(_BEGIN + b"[", b"{}," * 20_000, 24 * MIB, b"{}]}"),
    "objects without an end": lambda: _line(_BEGIN + b"[", b"{}," * 20_000, 24 * MIB, b"{}}}"),
    "text": lambda: _line(_BEGIN + b'"', b"x" * 60_000, 96 * MIB, b'"}'),
    "letters with accents": lambda: _line(_BEGIN + b'"', "é€".encode() * 12_000, 24 * MIB, b'"}'),
    "backslashes": lambda: _line(_BEGIN + b'"', b"\\" * 60_000, 24 * MIB, b'"}'),
    "half emoji": lambda: _line(_BEGIN + b'"', rb"\ud83d" * 1000 + b"\\\\" * 20_000, 8 * MIB, b'"}'),
    "spaces": lambda: _line(_BEGIN, b" " * 60_000, 24 * MIB, b"1}"),
    "digits": lambda: _line(_BEGIN, b"1" * 60_000, 24 * MIB, b"}"),
    "brackets": lambda: _line(_BEGIN, b"[" * 60_000, 24 * MIB),
    "members": lambda: _line(b"{", b'"a":1,' * 10_000, 24 * MIB, b'"a":1}'),
    "deep objects": lambda: _line(_BEGIN + b"[", b'{"a":' * 300 + b"1" + b"}" * 300 + b",", 8 * MIB, b"1]}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
async def test_no_slice_of_a_large_message_takes_long(name: str) -> None:
    line, slices = COSTLY[name](), list[float]()

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            slices.append(time.thread_time() - began)

    watching = asyncio.ensure_future(watch())
    try:
        message = await large.parse(line)
        assert len(bytes(message.result)) > MIB or name == "spaces"
    except Malformed:
        assert name in ("objects without an end", "digits", "brackets", "members")
    finally:
        watching.cancel()
    assert max(slices, default=0.0) < SLICE_TIME
