"""A child process as an upstream: its end, on the event loop of asyncio."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.protocol.pieces import Line
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream import handshake, vital_signs
from dynamic_mcp.upstream.stdio import StdioUpstream
from tests.dynamic_mcp.fakes import FakeGroup, server
from tests.dynamic_mcp.helpers import WITHIN


async def test_second_close_of_an_exited_child_does_nothing(guard: Guard) -> None:
    transport = StdioTransport(sys.executable, ("-c", "import sys; sys.exit(3)"), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)

    with pytest.raises(UpstreamGone, match=r"ended \(exit code 3\)"):
        await upstream.open(5.0)

    await upstream.close()
    await upstream.close()


BATCHING = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        version = {"protocolVersion": "2025-03-26", "capabilities": {}, "method": message["method"]}
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": version}
        end = "" if message["method"] == "last" else "\\n"
        print(json.dumps([{"jsonrpc": "2.0", "method": "n"}, answer]), end=end, flush=True)
        if not end:
            break
"""


async def test_batches_of_a_child_are_read(guard: Guard) -> None:
    transport = StdioTransport(sys.executable, ("-c", BATCHING), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)
    try:
        await upstream.open(WITHIN, skip_probe=True)
        assert upstream.agreed.version == "2025-03-26"
        for method in ("one", "last"):
            answer = await upstream.request(method, b"", Options(WITHIN))
            assert json.loads(answer)["method"] == method
    finally:
        await upstream.close()


#: Answers the first two requests after the handshake at once, without a line end, and exits.
LEAVING = """
import json, sys
asked = []
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    size = 0 if message["method"] == "initialize" else int(sys.argv[1])
    result = {"protocolVersion": "2025-11-25", "capabilities": {}, "text": "[1,{" * (size // 4)}
    answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
    if message["method"] == "initialize":
        print(answer, flush=True)
        continue
    asked.append(answer)
    if len(asked) == 2:
        text = "".join(asked)
        sys.stdout.write(text[: len(text) - int(sys.argv[2])])
        break
"""


@pytest.mark.parametrize("size", [100, 300_000, 2_000_000])
async def test_last_answers_need_no_line_end(guard: Guard, size: int) -> None:
    answers = await _last_answers(guard, size, missing=0)
    assert [len(json.loads(answer)["text"]) for answer in answers if isinstance(answer, bytes)] == [size] * 2


async def test_large_answer_that_breaks_off_is_the_end_of_the_process(guard: Guard) -> None:
    first, second = await _last_answers(guard, 2_000_000, missing=100)
    assert isinstance(first, bytes)
    assert isinstance(second, UpstreamGone)
    assert "ended (exit code 0)" in str(second)


async def test_last_answers_count_however_long_their_reading_takes(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = LineSplitter.feed

    def split_slowly(splitter: LineSplitter, chunk: bytes) -> list[Line]:
        time.sleep(0.02)
        return split(splitter, chunk)

    monkeypatch.setattr(LineSplitter, "feed", split_slowly)
    monkeypatch.setattr(vital_signs, "USUAL_END", 0.01)
    answers = await _last_answers(guard, 2_000_000, missing=0)
    assert [isinstance(answer, bytes) or answer for answer in answers] == [True, True]


async def _last_answers(guard: Guard, size: int, *, missing: int) -> list[bytes | BaseException]:
    transport = StdioTransport(sys.executable, ("-c", LEAVING, str(size), str(missing)), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)
    try:
        await upstream.open(WITHIN, skip_probe=True)
        asking = [upstream.request("x", b"", Options(WITHIN)) for _ in range(2)]
        return await asyncio.gather(*asking, return_exceptions=True)
    finally:
        await upstream.close()


@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        (("a", "b\0"), (), "its args[1] has a NUL character, which no program can get; remove it"),
        ((), (("A", Secret("b\0")),), "its env.A has a NUL character, which no program can get; remove it"),
        ((), (("A=s3cr3t", Secret("")),), "its env.A... is not the name of a variable; "),
    ],
)
async def test_setting_that_no_program_can_get_is_named(
    guard: Guard, words: tuple[str, ...], env: tuple[tuple[str, Secret], ...], says: str
) -> None:
    upstream = StdioUpstream(StdioTransport("true", words, env), FakeGroup(server("a")), guard)
    with pytest.raises(UpstreamFailed) as raised:
        await upstream.open(5.0)
    await upstream.close()
    assert str(raised.value).startswith(says)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "the memory of the proxy was used up"),
        (RecursionError(), r"error .*\(RecursionError\)"),
    ],
)
async def test_unexpected_error_ends_the_connection_with_a_reason(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(splitter: LineSplitter, chunk: bytes) -> list[bytes]:
        raise error

    monkeypatch.setattr(LineSplitter, "feed", fail)
    transport = StdioTransport(sys.executable, ("-c", "print(1, flush=True); input()"), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)
    try:
        with pytest.raises(UpstreamGone, match=f"its output could not be read: .*{reason}"):
            await upstream.open(5.0)
    finally:
        await upstream.close()


#: A modern server that answers the discovery after the probe has ended.
SLOW_MODERN = """
import json, sys, time
for line in sys.stdin:
    message = json.loads(line)
    answer = {"jsonrpc": "2.0", "id": message.get("id")}
    if message["method"] == "initialize":
        data = {"supported": ["2026-07-28"]}
        answer["error"] = {"code": -32022, "message": "Unsupported protocol version", "data": data}
    else:
        time.sleep(0.6)
        answer["result"] = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
    if "id" in message:
        print(json.dumps(answer), flush=True)
"""


async def test_slow_modern_server_has_the_time_of_a_start(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "PROBE_BUDGET", 0.2)
    transport = StdioTransport(sys.executable, ("-c", SLOW_MODERN), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)
    try:
        await upstream.open(WITHIN)
        assert upstream.modern
    finally:
        await upstream.close()


#: Refuses every version but its argument, and then exits. Without a version to take, it exits at the second start in silence.
STRICT = """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] != "initialize":
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["params"]["protocolVersion"] == sys.argv[1]:
        answer["result"] = {"protocolVersion": sys.argv[1], "capabilities": {}}
        print(json.dumps(answer), flush=True)
        continue
    answer["error"] = {"code": -32602, "message": "Unsupported protocol version", "data": {"supported": [sys.argv[1]]}}
    if sys.argv[1] or not os.path.exists("started"):
        open("started", "w").close()
        print(json.dumps(answer), flush=True)
    sys.exit(3)
"""


@pytest.mark.parametrize("skip_probe", [True, False])
async def test_child_that_exits_after_its_refusal_starts_again_with_an_older_version(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, skip_probe: bool
) -> None:
    monkeypatch.setattr(handshake, "PROBE_BUDGET", 0.1)
    transport = StdioTransport(sys.executable, ("-c", STRICT, "2025-06-18"), ())
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)
    try:
        await upstream.open(WITHIN, skip_probe=skip_probe)
        assert upstream.agreed.version == "2025-06-18"
    finally:
        await upstream.close()


async def test_child_that_exits_at_once_with_the_older_version_keeps_the_words_of_its_refusal(
    guard: Guard, tmp_path: Path
) -> None:
    transport = StdioTransport(sys.executable, ("-c", STRICT, ""), (), cwd=str(tmp_path))
    upstream = StdioUpstream(transport, FakeGroup(server("a")), guard)
    try:
        with pytest.raises(UpstreamFailed, match=r"error -32602; .*ended \(exit code 3\)") as caught:
            await upstream.open(WITHIN, skip_probe=True)
        assert caught.value.last_output == "Unsupported protocol version"
    finally:
        await upstream.close()
