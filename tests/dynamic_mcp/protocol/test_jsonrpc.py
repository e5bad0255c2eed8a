"""Lines and envelopes keep every byte, for any chunks and any spelling."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.batch import MAX_BATCH, elements_of
from dynamic_mcp.protocol.jsonrpc import Malformed, format_size, parse
from dynamic_mcp.protocol.lines import ENDLESS_FACTOR, LineSplitter, find_id
from dynamic_mcp.protocol.surrogates import without_lone_surrogates
from tests.dynamic_mcp.jsontexts import json_tokens, number_texts, string_texts

MIB = 1 << 20

streams = st.lists(
    st.sampled_from(
        [b"\n", b"\r\n", b" ", b"\t", b"\r", b"{}", b"long " * 50, b"long " * 500, b"\x85", b"\0"]
    )
    | st.binary(max_size=5)
).map(b"".join)


def chunked(data: bytes, offsets: list[int]) -> list[bytes]:
    edges = [0, *sorted(offset % (len(data) + 1) for offset in offsets), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(streams, st.lists(st.integers(0, 10_000), max_size=12))
@settings(max_examples=200)
def test_chunking_does_not_change_the_lines(stream: bytes, offsets: list[int]) -> None:
    *complete, unfinished = stream.split(b"\n")
    splitter = LineSplitter()

    lines = [line for chunk in chunked(stream, offsets) for line in splitter.feed(chunk)]

    assert lines == [line for line in complete if line.strip()]
    assert splitter.feed(b"\n") == ([unfinished] if unfinished.strip() else [])
    assert splitter.feed(b"\n") == []


PARSED: list[tuple[str, str, str | None]] = [
    ('{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}', "1", "m"),
    ('{"jsonrpc":"2.0","id":"1","method":"m"}', '"1"', "m"),
    ('{"jsonrpc":"2.0","id":-0.10e1,"method":"m"}', "-0.10e1", "m"),
    (r'{"jsonrpc":"2.0","id":"\u0061\/","method":"m"}', r'"\u0061\/"', "m"),
    ('{"jsonrpc":"2.0","method":"m"}', "", "m"),
    ('{"jsonrpc":"2.0","id":1,"result":null}', "1", None),
    ('{"jsonrpc":"2.0","id":null,"error":{}}', "null", None),
    (' {\t"extra": [1], "method": "\u00e9", "jsonrpc": "2.0", "id" : 1 } \r', "1", "\u00e9"),
]


@pytest.mark.parametrize(("line", "id", "method"), PARSED)
def test_parse_keeps_the_spelling_of_the_id(line: str, id: str, method: str | None) -> None:
    message = parse(line.encode())
    assert bytes(message.id) == id.encode()
    assert message.method == method


MALFORMED: list[tuple[bytes, int, bytes, bool]] = [
    (b"", -32700, b"null", False),
    (b"hello", -32700, b"null", False),
    (b'{"jsonrpc":"2.0","id":1,"method":"m"', -32700, b"null", False),
    (b'{"jsonrpc":"2.0","id":1,"method":"m"} {}', -32700, b"null", False),
    (b'{"jsonrpc":"2.0","id":01,"method":"m"}', -32700, b"null", False),
    (b'{"jsonrpc":"2.0","id":NaN,"method":"m"}', -32700, b"null", False),
    (b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + b"[" * 100_000, -32700, b"null", False),
    (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700, b"1", False),
    (b'{"jsonrpc":"2.0","id":1,"method":"m","params":["\xc3"]}', -32700, b"1", False),
    (b'{"jsonrpc":"2.0","id":1,"result":"\xed\xa0\x80"}', -32700, b"1", True),
    (b'{"jsonrpc":"2.0","id":1,"\xff":2,"result":{}}', -32700, b"1", True),
    (b"5", -32600, b"null", False),
    (b'[{"jsonrpc":"2.0","id":1,"method":"m"}]', -32600, b"null", False),
    (b'{"jsonrpc":"2.0","id":1}', -32600, b"1", True),
    (b'{"jsonrpc":"2.0","id":1,"error":null}', -32600, b"1", True),
    (b'{"id":1,"method":"m"}', -32600, b"1", False),
    (b'{"jsonrpc":"1.0","id":"x","method":"m"}', -32600, b'"x"', False),
    (b'{"jsonrpc":"1.0","method":"m"}', -32600, b"null", False),
    (b'{"jsonrpc":2.0,"id":1,"method":"m"}', -32600, b"1", False),
    (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600, b"1", False),
    (b'{"jsonrpc":"2.0","id":null,"method":"m"}', -32600, b"null", False),
    (b'{"jsonrpc":"2.0","id":true,"method":"m"}', -32600, b"null", False),
    (b'{"jsonrpc":"2.0","id":[1],"method":"m"}', -32600, b"null", False),
    (b'{"jsonrpc":"2.0"}', -32600, b"null", False),
    (b'{"id":1,"result":{}}', -32600, b"1", True),
    (b'{"jsonrpc":"1.0","id":1,"result":{}}', -32600, b"1", True),
    (b'{"jsonrpc":2,"id":1,"result":{}}', -32600, b"1", True),
]


@pytest.mark.parametrize(("line", "code", "id", "answer"), MALFORMED)
def test_malformed_lines_have_a_code_and_an_id(line: bytes, code: int, id: bytes, answer: bool) -> None:
    with pytest.raises(Malformed) as caught:
        parse(line)
    assert (caught.value.code, caught.value.id, caught.value.is_answer) == (code, id, answer)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"a\ud83d", rb"a\ufffd"),
        (rb"\ude00b", rb"\ufffdb"),
        (rb"\ud83d\ud83d\ude00", rb"\ufffd\ud83d\ude00"),
        (rb"\\ud83d\ud83d", rb"\\ud83d\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced(written: bytes, read: bytes) -> None:
    assert bytes(parse(b'{"jsonrpc":"2.0","id":1,"result":"%b"}' % written).result) == b'"%b"' % read


@given(st.lists(st.integers(1, 12), max_size=6), st.lists(st.integers(0, 99), max_size=8))
def test_oversized_lines_are_reported_and_the_others_kept(sizes: list[int], offsets: list[int]) -> None:
    lines = [b"%x" % number * size for number, size in enumerate(sizes)]
    reported: list[tuple[bytes, bool]] = []
    splitter = LineSplitter(8, lambda edge, last: reported.append((edge[:1], last)))
    stream = b"".join(line + b"\n" for line in lines)
    kept = [line for part in chunked(stream, offsets) for line in splitter.feed(part)]
    # A line that comes whole in one chunk needs no memory of its own, so the bound does not apply to it.
    dropped = [line for line in lines if line not in kept]
    assert kept == [line for line in lines if line not in dropped]
    assert all(len(line) > 8 for line in dropped)
    assert reported == [(line[:1], last) for line in dropped for last in (False, True)]


def test_line_beyond_16_bounds_is_endless_until_it_ends() -> None:
    splitter = LineSplitter(8)

    for _ in range(ENDLESS_FACTOR + 2):
        assert not splitter.is_endless
        assert splitter.feed(b"12345678") == []
    assert splitter.feed(b"9") == []
    assert splitter.is_endless
    assert splitter.feed(b"\nnext\n") == [b"next"]
    assert not splitter.is_endless


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536 << 10, "1536 KiB"), (2 << 30, "2 GiB")],
)
def test_format_size_is_exact(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize("spaces", ["", " "])
@pytest.mark.parametrize(
    ("edge", "last", "id"),
    [
        ('{"jsonrpc":"2.0","id":5,"result":{"x":"aaa', False, "5"),
        ('{"id":"a b","jsonrpc":"2.0","method":"m","params":{"', False, '"a b"'),
        ('{"method":"m","params":{"id":5,"x":"aaa', False, None),
        ('{"jsonrpc":"2.0","result":{"id":5,"x":"aaa', False, None),
        ('aaa"},"jsonrpc":"2.0","id":5}', True, "5"),
        ('aaa"},"id":-5,"jsonrpc":"2.0"}', True, "-5"),
        ('aaa","id":5}}', True, None),
        ('aaa\\"id\\":5"}', True, None),
    ],
)
def test_id_of_an_oversized_message_is_found_only_beyond_doubt(
    edge: str, last: bool, id: str | None, spaces: str
) -> None:
    spaced = edge.replace(":", f":{spaces}").replace(",", f"{spaces},")
    assert find_id(spaced.encode(), last) == (None if id is None else id.encode())


@given(st.binary(max_size=30) | json_tokens.map(lambda tokens: "".join(tokens).encode()))
def test_any_line_is_a_message_or_malformed(line: bytes) -> None:
    try:
        message = parse(line)
    except Malformed as problem:
        assert problem.code in (-32700, -32600)
    else:
        assert message.jsonrpc == "2.0"


def without_space(text: str) -> str:
    """JSON without the whitespace between its tokens."""
    kept, inside, escaped = [], False, False
    for character in text:
        if inside or character not in " \t\r\n":
            kept.append(character)
        if character == '"' and not escaped:
            inside = not inside
        escaped = inside and character == "\\" and not escaped
    return "".join(kept)


#: a JSON text with any whitespace between its tokens, raw line ends included
json_texts = json_tokens.flatmap(
    lambda tokens: st.lists(
        st.sampled_from(["", "", " ", "\n", "\r", "\r\n", "\t"]), min_size=len(tokens), max_size=len(tokens)
    ).map(lambda spaces: "".join(space + token for space, token in zip(spaces, tokens, strict=True)))
)
ids = number_texts | string_texts

Writer = Callable[[bytes, bytes], bytes]
WRITERS: dict[str, tuple[Writer, str]] = {
    "request": (
        lambda id, value: jsonrpc.request(id, "m", value),
        '{"jsonrpc":"2.0","id":%s,"method":"m","params":%s}',
    ),
    "notification": (
        lambda id, value: jsonrpc.notification("m", value),
        '{"jsonrpc":"2.0","method":"m","params":%.0s%s}',
    ),
    "result": (jsonrpc.result, '{"jsonrpc":"2.0","id":%s,"result":%s}'),
    "error": (jsonrpc.error, '{"jsonrpc":"2.0","id":%s,"error":%s}'),
}


@given(st.sampled_from(sorted(WRITERS)), ids, json_texts)
@settings(max_examples=200)
def test_writers_give_one_line_with_every_token_unchanged(writer: str, id: str, value: str) -> None:
    write, shape = WRITERS[writer]
    line = write(id.encode(), value.encode()).decode()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert "\r" not in line
    assert without_space(line) == shape % (id, without_space(value))


@given(ids, json_texts)
def test_parse_reads_what_result_wrote(id: str, value: str) -> None:
    message = parse(jsonrpc.result(id.encode(), value.encode()))
    assert bytes(message.id).decode() == id
    assert without_space(bytes(message.result).decode()) == without_space(value)


def test_empty_params_leave_no_member() -> None:
    assert json.loads(jsonrpc.request(b"1", "m", b"")) == {"jsonrpc": "2.0", "id": 1, "method": "m"}
    assert json.loads(jsonrpc.notification("m")) == {"jsonrpc": "2.0", "method": "m"}


def test_error_object_has_data_only_if_given() -> None:
    assert json.loads(jsonrpc.error_object(-1, "no")) == {"code": -1, "message": "no"}
    assert json.loads(jsonrpc.error_object(-1, "no", {"a": 1}))["data"] == {"a": 1}


@given(json_texts.map(str.encode) | st.binary(max_size=12), st.integers(0, 9))
def test_lone_surrogate_elsewhere_does_not_change_the_reason(value: bytes, offset: int) -> None:
    """A line that is invalid for two reasons is repaired once, and then has the reason that is left."""
    line = b'{"jsonrpc":"2.0","id":7,"x":"\\ud83d","y":' + value[:offset] + b",}"
    with pytest.raises(Malformed) as caught:
        parse(line)
    assert caught.value.code == jsonrpc.PARSE_ERROR


@pytest.mark.slow
@given(st.lists(json_texts, min_size=1, max_size=8), st.sampled_from(["", " ", "\n"]))
def test_elements_are_the_texts_of_the_array(texts: list[str], space: str) -> None:
    array = f"{space}[{space}" + f"{space},{space}".join(texts) + f"{space}]{space}"
    assert [element.decode() for element in elements_of(array.encode())] == [text.strip() for text in texts]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (b"[]", "must not be empty"),
        (b"[1,", "not valid JSON"),
        (b"[" + b"{}," * MAX_BATCH + b"{}]", "at most 1000 messages"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_array_that_is_no_batch_is_malformed(array: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        elements_of(array)


def test_batch_may_have_as_many_messages_as_the_bound() -> None:
    assert len(list(elements_of(b"[" + b"{}," * (MAX_BATCH - 1) + b"{}]"))) == MAX_BATCH


COSTLY = {
    "array of objects": b"[" + b"{}," * (3 * MIB) + b"{}]",
    "object of members": b"{" + b",".join(b'"%d":1' % number for number in range(800_000)) + b"}",
    "members without an end": b"{" + b",".join(b'"%d":1' % number for number in range(800_000)),
    "envelope of members": b'{"jsonrpc":"2.0","method":"m",'
    + b",".join(b'"%d":1' % number for number in range(800_000))
    + b"}",
    "no UTF-8": b'{"jsonrpc":"2.0","id":1,"x":"' + b"\xff" * (8 * MIB) + b'"}',
    "one emoji": '{"jsonrpc":"2.0","method":"m","x":"😀'.encode() + b"x" * (8 * MIB) + b'"}',
    "depth": b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * (8 * MIB),
    "backslashes": b'{"jsonrpc":"2.0","x":"' + b"\\" * (8 * MIB) + b'"',
    "digits": b'{"jsonrpc":"2.0","id":' + b"1" * (8 * MIB) + b"}",
}


@pytest.mark.parametrize("line", COSTLY.values(), ids=COSTLY)
@pytest.mark.parametrize("read", [parse, elements_of])
def test_no_line_costs_more_than_its_size(line: bytes, read: Callable[[bytes], object]) -> None:
    tracemalloc.start()
    try:
        began = time.process_time()
        with suppress(Malformed):
            read(line)
        took = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * len(line)
    assert took < 1.0


def test_invalid_bytes_never_become_an_id() -> None:
    with pytest.raises(Malformed) as caught:
        parse(b'{"jsonrpc":"2.0","id":"\xff","result":{}}')
    assert (caught.value.id, caught.value.is_answer) == (jsonrpc.NULL, True)


@given(st.lists(st.sampled_from(["a", "é", "😀"]), max_size=5), st.integers(-4, 4), st.booleans())
def test_long_line_is_checked_like_a_short_one(texts: list[str], shift: int, is_cut: bool) -> None:
    """A character that two blocks share is valid; half of a character is not."""
    head = b'{"jsonrpc":"2.0","method":"m","x":"' + b"x" * ((1 << 16) - 40 + shift)
    line = head + "".join(texts).encode() + ("😀".encode()[:3] if is_cut else b"") + b'"}'
    if is_cut:
        with pytest.raises(Malformed, match="not valid UTF-8"):
            parse(line)
    else:
        assert parse(line).method == "m"


_MEMBERS = st.sampled_from(
    [
        b'"jsonrpc":"2.0"',
        b'"jsonrpc":2',
        b'"id":1',
        b'"id":{}',
        b'"method":"m"',
        b'"method":5',
        b'"method":null',
    ]
) | st.sampled_from(
    [
        rb'"x":"\ud83d"',
        rb'"method":"\ude00"',
        rb'"\ud83d":1',
        rb'"x":"\x"',
        b'"x":[',
        b'"result":{}',
        b"}",
        b"",
    ]
)


@pytest.mark.slow
@given(st.lists(_MEMBERS, max_size=5).map(lambda members: b"{" + b",".join(members) + b"}"))
@settings(max_examples=200)
def test_reason_equals_that_of_a_decoder_of_all_members(line: bytes) -> None:
    """The reference repairs the line, decodes every member, and then looks."""
    repaired = without_lone_surrogates(line)
    try:
        msgspec.json.decode(repaired, type=dict[str, msgspec.Raw])
        valid = True
    except msgspec.DecodeError:
        valid = False
    try:
        parse(line)
    except Malformed as problem:
        assert problem.code == (jsonrpc.INVALID_REQUEST if valid else jsonrpc.PARSE_ERROR)
    else:
        assert valid
