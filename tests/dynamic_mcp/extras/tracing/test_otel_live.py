"""Traces of the whole process: to a collector, to none, to one that hangs, and to stderr."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import AsyncIterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from conformance.model.sut import make_sut
from conformance.workbench.proxy import Proxy
from conformance.workbench.workbench import Workbench, open_workbench
from dynamic_mcp.extras.tracing.otel import CLOSE_GRACE
from mock_servers.script import Script, on_call, silence
from tests.dynamic_mcp.extras.tracing.otlp import receiving, values
from tests.dynamic_mcp.helpers import WITHIN, eventually, is_alive

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
#: Nothing of it is to wait for a batch in these tests.
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "10"}


@pytest.fixture
async def bench() -> AsyncIterator[Workbench]:
    async with open_workbench(make_sut(), "TEST", keep=False) as bench:
        yield bench
    assert bench.evidence.leftovers == []


def calling(proxy: Proxy, group: str) -> dict[str, object]:
    context = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    return {**proxy.call_params(group, "echo"), "_meta": context}


def assert_only_messages(proxy: Proxy) -> None:
    assert proxy.stdout_lines
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in proxy.stdout_lines)


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
async def test_a_trace_goes_through_the_proxy_to_servers_of_both_kinds(
    bench: Workbench, number: int | None
) -> None:
    near, far = bench.stdio("near"), await bench.http("far")
    with receiving() as receiver:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_RESOURCE_ATTRIBUTES": "team=a"}
        async with bench.proxy(near, far, env=environment) as proxy:
            await proxy.handshake()
            await proxy.ready(near, far)
            for group in ("near", "far"):
                await proxy.request("tools/call", calling(proxy, group))
            if number is None:
                proxy.close_stdin()
            else:
                proxy.signal(number)
            assert await proxy.wait_exit(WITHIN) == (0 if number is None else 128 + number)

    assert_only_messages(proxy)
    assert "WARN" not in proxy.stderr
    assert receiver.resource["service.name"] == "dynamic-mcp"
    assert receiver.resource["team"] == "a"
    assert "initialize" in {span.name for span in receiver.spans}
    ours = [span for span in receiver.spans if span.trace_id.hex() == TRACE]
    servers = {span.span_id: span for span in ours if span.kind == Span.SPAN_KIND_SERVER}
    assert {span.parent_span_id.hex() for span in servers.values()} == {PARENT}
    for upstream, transport in ((near, "pipe"), (far, "tcp")):
        (request,) = upstream.requests("tools/call")
        (span,) = (one for one in ours if values(one.attributes).get("dynamic_mcp.group") == upstream.name)
        assert span.name == "tools/call echo"
        assert span.kind == Span.SPAN_KIND_CLIENT
        assert servers[span.parent_span_id].start_time_unix_nano <= span.start_time_unix_nano
        assert request.params["_meta"]["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert values(span.attributes)["jsonrpc.request.id"] == str(request.id)
        assert values(span.attributes)["network.transport"] == transport


async def test_a_call_that_the_end_cancels_is_in_the_trace(bench: Workbench) -> None:
    upstream = bench.stdio("a", Script(on=[on_call("echo", silence())]))
    with receiving() as receiver:
        async with bench.proxy(upstream, env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)
            await proxy.begin("tools/call", calling(proxy, "a"), id="held")
            await eventually(lambda: upstream.requests("tools/call"), "the call upstream")
            proxy.close_stdin()
            assert await proxy.wait_exit(WITHIN) == 0
    ended = [span for span in receiver.spans if span.trace_id.hex() == TRACE]
    assert len(ended) == 2
    assert {values(span.attributes)["error.type"] for span in ended} == {"cancelled"}
    assert {span.status.code for span in ended} == {Status.STATUS_CODE_ERROR}


async def test_a_collector_that_hangs_holds_nothing_up(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    with receiving(hangs=True) as receiver:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **AT_ONCE}
        async with bench.proxy(upstream, env=environment) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)
            await eventually(receiver.asked.is_set, "the first export")
            began = time.monotonic()
            await proxy.call("a", "echo")
            # The export goes on for ten seconds.
            assert time.monotonic() - began < 5
            began = time.monotonic()
            proxy.close_stdin()
            await eventually(lambda: not any(map(is_alive, upstream.pids)), "the end of the server")
            assert await proxy.wait_exit(WITHIN) == 0
            took = time.monotonic() - began
    assert CLOSE_GRACE <= took < CLOSE_GRACE + 3
    assert "traces were not handed over" in proxy.stderr
    assert_only_messages(proxy)


async def test_a_collector_that_is_away_is_said_once(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    with socket.socket() as unused:
        # Bound and not listening: nobody else can take the port, and connections are refused.
        unused.bind(("127.0.0.1", 0))
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused.getsockname()[1]}/canary-5c2f",
            "OTEL_EXPORTER_OTLP_HEADERS": "canary-5c2f",
            # Seconds: each batch is given up at once.
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1",
            **AT_ONCE,
        }
        async with bench.proxy(upstream, env=environment) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)
            await eventually(lambda: "Failed to export" in proxy.stderr, "the trouble")
            for _ in range(20):
                answer = await proxy.call("a", "echo")
                assert "content" in answer.result
    assert len(re.findall(r"ERROR traces: ", proxy.stderr)) == 1
    assert "canary" not in proxy.stderr
    assert_only_messages(proxy)


async def test_spans_for_the_console_go_to_stderr(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    async with bench.proxy(upstream, env={"OTEL_TRACES_EXPORTER": "console"}) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        await proxy.request("tools/call", calling(proxy, "a"))
        proxy.close_stdin()
        assert await proxy.wait_exit(WITHIN) == 0
    assert_only_messages(proxy)
    assert f'"trace_id": "0x{TRACE}"' in proxy.stderr


async def test_what_is_switched_off_passes_the_context_on_as_it_came(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    with receiving() as receiver:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SDK_DISABLED": "true"}
        async with bench.proxy(upstream, env=environment) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)
            await proxy.request("tools/call", calling(proxy, "a"))
    (request,) = upstream.requests("tools/call")
    assert request.params["_meta"]["traceparent"] == f"00-{TRACE}-{PARENT}-01"
    assert receiver.requests == []
