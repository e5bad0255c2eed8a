"""Sizes and back pressure: neither large messages nor a peer that does not read fill the proxy's memory or stop the proxy."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from dynamic_mcp.protocol.lines import MAX_MESSAGE
from mock_servers.journal import read_journal
from mock_servers.script import Script, on_call, payload
from tests.wire import Wire

MIB = 1 << 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]


def text_of(answer: dict[str, object]) -> str:
    result = answer["result"]
    assert isinstance(result, dict)
    return str(result["content"][0]["text"])


def test_result_of_64_mib_arrives_whole(tmp_path: Path) -> None:
    with Wire(tmp_path, max_answer_size="128MiB", a=Script(on=[on_call("echo", payload(64 * MIB))])) as wire:
        assert len(text_of(wire.call(1, "a"))) == 64 * MIB


def test_oversized_answer_fails_only_its_own_call(tmp_path: Path) -> None:
    with Wire(tmp_path, a=Script(on=[on_call("echo", payload(MAX_MESSAGE + MIB))])) as wire:
        wire.send_call(1, "a")
        failed = wire.receive()
        assert failed["id"] == 1
        assert failed["result"]["isError"] is True
        assert "larger than 128 MiB" in text_of(failed)
        assert wire.call(2, "a", {"a": 1, "b": 2}, tool="add")["result"]["isError"] is False
        assert wire.memory("VmHWM") < 3 * MAX_MESSAGE


def test_oversized_request_is_refused_under_its_id(tmp_path: Path) -> None:
    with Wire(tmp_path, a=Script()) as wire:
        wire.write(b'{"jsonrpc":"2.0","id":"big","method":"tools/call","params":{"x":"')
        for _ in range(MAX_MESSAGE // MIB + 1):
            wire.write(b"x" * MIB)
        wire.write(b'"}}\n')
        refused = wire.receive()
        assert refused["id"] == "big"
        assert "128 MiB" in refused["error"]["message"]
        assert wire.call(2, "a", {"x": 1})["result"]["isError"] is False


def test_proxy_stops_reading_from_a_client_that_does_not_read(tmp_path: Path) -> None:
    """400 answers of 1 MiB for a client that does not read: the proxy holds a few, the others wait in the server."""
    size, calls = MIB, 400
    with Wire(tmp_path, a=Script(on=[on_call("echo", payload(size))])) as wire:
        wire.call(1, "a", {"a": 1, "b": 2}, tool="add")
        before = wire.memory()
        arguments = {"name": "call_dynamic_tool", "arguments": {"group": "a", "name": "echo", "args": {}}}
        lines = [
            json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": arguments}).encode()
            + b"\n"
            for id in range(2, 2 + calls)
        ]
        taken = wire.write(b"".join(lines), within=3.0)
        assert wire.memory("VmHWM") - before < 64 * MIB
        ids: set[int] = set()
        rest = b"".join(lines)[taken:]
        while len(ids) < calls:
            answer = wire.receive()
            assert len(text_of(answer)) == size
            ids.add(answer["id"])
            rest = rest[wire.write(rest, within=0.0) :]
        assert ids == set(range(2, 2 + calls))


def test_backlog_for_a_server_that_does_not_read_is_bounded(tmp_path: Path) -> None:
    with Wire(tmp_path, stopped=Script(), well=Script()) as wire:
        wire.call(1, "stopped")
        wire.call(2, "well")
        (start,) = [entry for entry in read_journal(tmp_path / "stopped.journal") if entry.event == "start"]
        os.kill(start.pid, signal.SIGSTOP)
        before = wire.memory()
        large = {"x": "y" * MIB}
        for id in range(100, 140):
            wire.send_call(id, "stopped", large)
        wire.send_call(3, "well", {"x": 1})
        refused = []
        while (answer := wire.receive())["id"] != 3:
            assert "does not read its input" in text_of(answer)
            refused.append(answer["id"])
        assert answer["result"]["isError"] is False
        assert 20 <= len(refused) < 40
        assert wire.memory() - before < 128 * MIB
        os.kill(start.pid, signal.SIGCONT)
        answered = [wire.receive() for _ in range(40 - len(refused))]
        assert all(json.loads(text_of(answer)) == large for answer in answered)
        assert sorted([*refused, *(answer["id"] for answer in answered)]) == list(range(100, 140))
