"""Lines with several messages, or with a message and a text: what counts, and what must not."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynamic_mcp.errors import UpstreamFailed, UpstreamTimeout
from dynamic_mcp.protocol import several
from dynamic_mcp.protocol.jsonrpc import Message, Outgoing
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.protocol.pieces import LARGE, Large, Line
from dynamic_mcp.upstream.flow import LineFlow
from tests.dynamic_mcp.helpers import WITHIN

LARGE_TEXT = "x" * LARGE


class Child:
    """A peer behind the lines of a child."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.notified: list[str | None] = []
        self.faults: list[str] = []
        self.peer = Peer(self._send, self._take, on_junk=self.faults.append)
        splitter = LineSplitter()
        self._flow = LineFlow(
            splitter,
            self.peer.receive,
            self.peer.receive_slowly,
            self.peer.count_junk,
            lambda error: pytest.fail(str(error)),
        )

    def _send(self, message: Outgoing) -> None:
        self.sent.append(json.loads(message.line))

    def _take(self, message: Message) -> None:
        self.notified.append(message.method)

    async def calls(self, number: int) -> list[asyncio.Task[bytes]]:
        tasks = [asyncio.create_task(self.peer.request("m", b"{}", Options(WITHIN))) for _ in range(number)]
        await asyncio.sleep(0)
        return tasks

    def write(self, *texts: str | bytes) -> None:
        for text in texts:
            self._flow.add(text if isinstance(text, bytes) else text.encode())


def answer(id: int, value: str = "x") -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {"v": value}})


def value_of(result: bytes) -> object:
    return json.loads(result)["v"]


BLANKS = ["", " ", "\t \r"]
NOTE = '{"jsonrpc":"2.0","method":"notifications/x","params":{"a":"}{ \\" [ \\\\"}}'


@pytest.mark.parametrize("between", BLANKS)
@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "b"), ("}{", '"}\\'), ("é", "ü"), (LARGE_TEXT, "b"), ("a", LARGE_TEXT), (LARGE_TEXT, LARGE_TEXT)],
)
async def test_each_message_of_a_line_counts(between: str, first: str, second: str) -> None:
    child = Child()
    calls = await child.calls(2)
    child.write(f"{answer(1, first)}{between}{NOTE}{between}{answer(2, second)}\n\n")
    async with asyncio.timeout(WITHIN):
        assert [value_of(await call) for call in calls] == [first, second]
    assert child.notified == ["notifications/x"]


@pytest.mark.parametrize(
    "line",
    [
        "[%(a)s][%(b)s]",
        "%(a)s[%(b)s]",
        "[%(a)s] %(b)s",
        "[%(a)s,%(b)s]text",
        '{"level":"info"}%(a)s{"id":7}%(b)s',
        "\ufeff%(a)s%(b)s",
        "%(a)s\ufeff%(b)s",
        "%(a)s%(b)s\x00",
        "%(a)s%(b)s{",
        '%(a)s%(b)s{"jsonrpc":"2.0",',
        "%(a)s%(b)s[INFO] %(c)s",
    ],
)
async def test_batches_and_other_values_between(line: str) -> None:
    child = Child()
    calls = await child.calls(2)
    child.write(line % {"a": answer(1, "a"), "b": answer(2, "b"), "c": answer(2, "c")} + "\n")
    async with asyncio.timeout(WITHIN):
        assert [value_of(await call) for call in calls] == ["a", "b"]


@pytest.mark.parametrize("size", ["", LARGE_TEXT])
@pytest.mark.parametrize(
    "line",
    [
        "log %(quoted)s",
        "[INFO] %(quoted)s",
        "%(note)slog %(quoted)s",
        "%(note)s[INFO] %(quoted)s",
        '%(note)s"%(quoted)s"',
        '%(note)s{"cut": "%(quoted)s',
        '%(note)s{"text": %(quoted)s, nope}',
        '%(note)s{"said": "it is "%(quoted)s"}',
        "5 %(quoted)s",
        "%(note)s[1] %(quoted)s",
        '%(note)s{"method": 5, nope} %(quoted)s',
        "%(note)s{nope} %(quoted)s",
    ],
)
async def test_no_quotation_is_an_answer(line: str, size: str) -> None:
    child = Child()
    [call] = await child.calls(1)
    child.write(line % {"quoted": answer(1, "quoted" + size), "note": NOTE} + "\n", answer(1, "right") + "\n")
    async with asyncio.timeout(WITHIN):
        assert value_of(await call) == "right"
    assert child.notified == ["notifications/x"] * line.count("%(note)s")


async def test_unreadable_message_fails_its_request_alone() -> None:
    child = Child()
    first, second = await child.calls(2)
    child.write(answer(1, "a").encode() + b'{"jsonrpc":"2.0","id":2,"result":"\xff"}\n')
    async with asyncio.timeout(WITHIN):
        assert value_of(await first) == "a"
        with pytest.raises(UpstreamFailed, match="malformed"):
            await second


async def test_repaired_numbers_and_surrogates() -> None:
    child = Child()
    calls = await child.calls(3)
    lines = [
        answer(1).replace('"x"', "NaN"),
        answer(2).replace("x", "\\ud800"),
        answer(3),
    ]
    child.write("".join(lines) + "\n")
    async with asyncio.timeout(WITHIN):
        assert [value_of(await call) for call in calls] == [None, "\ufffd", "x"]


async def test_timeout_names_data_that_is_no_message() -> None:
    child = Child()
    call = asyncio.create_task(child.peer.request("m", b"{}", Options(0.05)))
    await asyncio.sleep(0)
    child.write("log " + answer(1) + "\n")
    with pytest.raises(UpstreamTimeout, match="data that is no message"):
        await call
    with pytest.raises(UpstreamTimeout) as raised:
        await child.peer.request("m", b"{}", Options(0.05))
    assert "no message" not in str(raised.value)


@pytest.mark.parametrize("unit", ["{}", "[]", "{} ", '{"":0}', NOTE, "[1]", "{", "[{", '{"a', '{"\\', "x"])
@pytest.mark.parametrize("beginning", ["", NOTE])
async def test_long_lines_take_linear_time_and_leave_turns_to_others(unit: str, beginning: str) -> None:
    child = Child()
    # The time of the processor, which other work on the machine does not change.
    longest, last = 0.0, time.thread_time()
    child.write(beginning + unit * (3 * LARGE // len(unit)) + "\n", NOTE.replace("/x", "/end") + "\n")
    async with asyncio.timeout(WITHIN):
        while not child.faults and "notifications/end" not in child.notified:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
    assert longest < 0.1


VALUES = st.recursive(
    st.text(alphabet='a"\\{}[]é \u2028') | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='k"\\{'), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(VALUES, max_size=3) | st.dictionaries(st.text(), VALUES, max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.tuples(DOCUMENTS, st.sampled_from(BLANKS), st.booleans()), max_size=4),
    rest=st.sampled_from(["", "text", "text {}", '"a"{}', "{", '{"a":"}{}', "[{}", "}", "5"]),
    size=st.integers(1, 12),
    is_large=st.booleans(),
)
@example(documents=[], rest="text", size=1, is_large=True)
async def test_values_end_where_the_decoder_says(
    documents: list[tuple[object, str, bool]], rest: str, size: int, is_large: bool
) -> None:
    texts = [blanks + json.dumps(document, ensure_ascii=escaped) for document, blanks, escaped in documents]
    line: Line = "".join([*texts, rest]).encode()
    assert isinstance(line, bytes)
    whole = line
    if is_large and line:
        line = Large([line[start : start + 5] for start in range(0, len(line), 5)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several, "SLICE", size)
        values = [value async for value in several.values_of(line)]
    found = [b"".join(value.slices(LARGE)) if isinstance(value, Large) else value for value in values]
    assert found == [text.encode() for text in texts] + ([rest.encode()] if rest or not texts else [])
    assert b"".join(found) == whole
