"""The whole process: after any end, no process of an upstream is left, and stdout contained only protocol messages."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from conformance.model.sut import make_sut
from conformance.workbench.mocks import StdioMockUpstream
from conformance.workbench.proxy import Proxy
from conformance.workbench.workbench import Workbench, open_workbench
from dynamic_mcp.frontend.running import NO_TIME
from mock_servers.script import Grandchild, Rule, Script, on_call, silence, sleep
from tests.dynamic_mcp.helpers import WITHIN, eventually, is_alive

STAYS = Script(ignore_eof=True, grandchildren=[Grandchild(holds_stdout=True)])
HANGS = Script(ignore_eof=True, startup=[sleep(60.0)])
STUBBORN = Script(ignore_eof=True, ignore_sigterm=True, grandchildren=[Grandchild(ignore_sigterm=True)])


@pytest.fixture
async def bench() -> AsyncIterator[Workbench]:
    """A workbench that finds no leftover process at its end."""
    async with open_workbench(make_sut(), "TEST", keep=False) as bench:
        yield bench
    assert bench.evidence.leftovers == []


def survivors(*upstreams: StdioMockUpstream) -> list[int]:
    return [pid for upstream in upstreams for pid in upstream.pids if is_alive(pid)]


def assert_only_messages(proxy: Proxy) -> None:
    lines = proxy.stdout.decode().splitlines()
    assert lines
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in lines)


def end(proxy: Proxy, number: int | None) -> None:
    if number is None:
        proxy.close_stdin()
    else:
        proxy.signal(number)


#: how a session ends, and the exit status that it then has
ENDS: list[tuple[int | None, int]] = [(None, 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.slow
async def test_upstreams_that_stay_leave_no_process(bench: Workbench) -> None:
    async def ended_by(number: int | None, status: int) -> None:
        polite, staying = bench.stdio("polite"), bench.stdio("staying", STAYS)
        async with bench.proxy(polite, staying) as proxy:
            await proxy.handshake()
            await proxy.ready(polite, staying)
            assert len(survivors(polite, staying)) == 3
            end(proxy, number)
            assert await proxy.wait_exit(WITHIN) == status
            assert survivors(polite, staying) == []
        assert_only_messages(proxy)

    await bench.run_cases(*(partial(ended_by, *way) for way in ENDS))


@pytest.mark.slow
async def test_end_during_a_start_leaves_no_process(bench: Workbench) -> None:
    async def ended_by(number: int | None, status: int) -> None:
        hanging = bench.stdio("hanging", HANGS)
        async with bench.proxy(hanging) as proxy:
            await proxy.handshake()
            end(proxy, number)
            assert await proxy.wait_exit(WITHIN) == status
            assert survivors(hanging) == []
        assert "Traceback" not in proxy.stderr

    await bench.run_cases(*(partial(ended_by, *way) for way in ENDS))


@pytest.mark.slow
async def test_hanging_start_does_not_delay_the_end(bench: Workbench) -> None:
    hanging = bench.stdio("hanging", HANGS)
    async with bench.proxy(hanging) as proxy:
        await hanging.started()
        began = time.monotonic()
        proxy.close_stdin()
        assert await proxy.wait_exit(WITHIN) == 0
        # One second after its stdin closed, then SIGTERM; not the ten seconds of the connection budget.
        assert time.monotonic() - began < 5
        assert survivors(hanging) == []


@pytest.mark.slow
async def test_second_signal_kills_at_once(bench: Workbench) -> None:
    stubborn = bench.stdio("stubborn", STUBBORN)
    async with bench.proxy(stubborn) as proxy:
        await proxy.handshake()
        await proxy.ready(stubborn)
        proxy.signal(signal.SIGTERM)
        await eventually(
            lambda: any(entry.event == "eof" for entry in stubborn.entries), "the first signal at work"
        )
        proxy.signal(signal.SIGINT)
        assert await proxy.wait_exit(WITHIN) == 143
        assert survivors(stubborn) == []
        # Without the second signal, SIGTERM would have come first.
        assert not [entry for entry in stubborn.entries if entry.event == "signal"]


async def test_end_of_input_cancels_calls_upstream_and_answers_them(bench: Workbench) -> None:
    upstream = bench.stdio("a", Script(on=[on_call("echo", silence())]))
    async with bench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        params = {"name": "call_dynamic_tool", "arguments": {"group": "a", "name": "echo"}}
        await proxy.send_raw(
            json.dumps({"jsonrpc": "2.0", "id": "held", "method": "tools/call", "params": params}).encode()
            + b"\n"
        )
        (call,) = await eventually(lambda: upstream.requests("tools/call"), "the call upstream")
        proxy.close_stdin()
        assert await proxy.wait_exit(WITHIN) == 0
        (cancelled,) = upstream.requests("notifications/cancelled")
    assert cancelled.params["requestId"] == call.id
    (answer,) = [line for line in proxy.stdout.decode().splitlines() if '"held"' in line]
    assert NO_TIME in answer


@pytest.mark.parametrize("size", [0, 700_000])
async def test_last_line_without_a_line_end_is_answered(bench: Workbench, size: int) -> None:
    async with bench.proxy() as proxy:
        filler = b"x" * size
        await proxy.send_raw(
            b'{"jsonrpc":"2.0","id":"last","method":"ping","params":{"filler":"%b"}}' % filler
        )
        proxy.close_stdin()
        assert await proxy.wait_exit(WITHIN) == 0
    assert proxy.stdout == b'{"jsonrpc":"2.0","id":"last","result":{}}\n'


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","method":"\xff"}',
        b'{"jsonrpc":"2.0","id":1e400,"method":"tools/call","params":{"name":"get_dynamic_tools"}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}',
        b"[" * 100_000,
    ],
    ids=["not UTF-8", "an id out of range", "a cancellation of nothing", "nested deeply"],
)
async def test_no_line_of_the_client_ends_the_session(bench: Workbench, line: bytes) -> None:
    # The answer repeats the id that is out of range, which MCP does not allow.
    async with bench.proxy(wire_types=False) as proxy:
        await proxy.send_raw(line + b"\n")
        await proxy.handshake()
    assert_only_messages(proxy)


async def test_no_line_of_an_upstream_ends_its_connection(bench: Workbench) -> None:
    lines = r'printf "{\"jsonrpc\":\"2.0\",\"method\":\"\377\"}\n\377\n[[[\nlistening\n"'
    mock = bench.stdio("a")
    entry = mock.entry
    noisy = mock.variant(
        command="sh", args=["-c", f'{lines}; exec "$0" "$@"', entry["command"], *entry["args"]]
    )
    async with bench.proxy(noisy) as proxy:
        await proxy.handshake()
        await proxy.ready(noisy)
        assert not (await proxy.call("a", "echo")).is_error
    assert len(noisy.starts) == 1


@pytest.mark.slow
async def test_modern_server_with_a_late_probe_is_probed_again(bench: Workbench) -> None:
    late = bench.stdio("late", Script(era="modern", on=[Rule("server/discover", [sleep(3)], nth=1)]))
    async with bench.proxy(late) as proxy:
        await proxy.handshake()
        await proxy.ready(late)
        assert not (await proxy.call("late", "echo", {"x": 1})).is_error
    methods = [json.loads(line)["method"] for line in late.lines]
    assert methods[:3] == ["server/discover", "initialize", "server/discover"]
