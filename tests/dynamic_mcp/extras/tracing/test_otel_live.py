"""Traces of the whole process: with a collector, with an unreachable or hanging one, and on stderr."""

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
#: Spans do not wait for a batch in these tests.
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
async def test_trace_continues_in_servers_of_both_kinds(bench: Workbench, number: int | None) -> None:
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
    # An exporter that waits too long for its answer sends the same spans again, for example on a busy machine.
    own_spans = [
        *{span.span_id: span for span in receiver.spans if span.trace_id.hex() == TRACE}.values(),
    ]
    servers = {span.span_id: span for span in own_spans if span.kind == Span.SPAN_KIND_SERVER}
    assert {span.parent_span_id.hex() for span in servers.values()} == {PARENT}
    for upstream, transport in ((near, "pipe"), (far, "tcp")):
        (request,) = upstream.requests("tools/call")
        (span,) = (
            candidate
            for candidate in own_spans
            if values(candidate.attributes).get("dynamic_mcp.group") == upstream.name
        )
        assert span.name == "tools/call echo"
        assert span.kind == Span.SPAN_KIND_CLIENT
        assert servers[span.parent_span_id].start_time_unix_nano <= span.start_time_unix_nano
        assert request.params["_meta"]["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert values(span.attributes)["jsonrpc.request.id"] == str(request.id)
        assert values(span.attributes)["network.transport"] == transport


async def test_call_that_the_end_gives_up_is_in_the_trace(bench: Workbench) -> None:
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
    # The upstream's request is cancelled, and the client gets an error for its own.
    assert {values(span.attributes)["error.type"] for span in ended} == {"cancelled", "tool_error"}
    assert {span.status.code for span in ended} == {Status.STATUS_CODE_ERROR}


async def test_hanging_collector_delays_nothing(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    with receiving(hangs=True) as receiver:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **AT_ONCE}
        async with bench.proxy(upstream, env=environment) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)
            await eventually(receiver.requested.is_set, "the first export")
            began = time.monotonic()
            await proxy.call("a", "echo")
            # The export takes ten seconds.
            assert time.monotonic() - began < 5
            began = time.monotonic()
            proxy.close_stdin()
            await eventually(lambda: not any(map(is_alive, upstream.pids)), "the end of the server")
            assert await proxy.wait_exit(WITHIN) == 0
            took = time.monotonic() - began
    assert CLOSE_GRACE <= took < CLOSE_GRACE + 3
    assert "the last traces are lost" in proxy.stderr
    assert_only_messages(proxy)


async def test_unreachable_collector_is_reported_once(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    with socket.socket() as unused:
        # A bound socket that does not listen: the port stays taken, and the system refuses connections.
        unused.bind(("127.0.0.1", 0))
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused.getsockname()[1]}/canary-5c2f",
            "OTEL_EXPORTER_OTLP_HEADERS": "canary-5c2f",
            # In seconds; each export fails at once.
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


async def test_console_spans_go_to_stderr(bench: Workbench) -> None:
    upstream = bench.stdio("a")
    async with bench.proxy(upstream, env={"OTEL_TRACES_EXPORTER": "console"}) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        await proxy.request("tools/call", calling(proxy, "a"))
        proxy.close_stdin()
        assert await proxy.wait_exit(WITHIN) == 0
    assert_only_messages(proxy)
    assert f'"trace_id": "0x{TRACE}"' in proxy.stderr


async def test_disabled_traces_pass_the_context_unchanged(bench: Workbench) -> None:
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
