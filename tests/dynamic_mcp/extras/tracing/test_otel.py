"""The spans of requests: their parents, names and attributes, and the data that they never contain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw
from opentelemetry import propagate
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from dynamic_mcp.config.model import Audit, Config
from dynamic_mcp.errors import HttpStatus, TooLarge, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.extras.audit import MAX_FIELD
from dynamic_mcp.extras.plugin import Extras
from dynamic_mcp.extras.tracing.otel import OpenTelemetry
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Handshake
from tests.dynamic_mcp.fakes import REQUEST_META, Client, FakeUpstream, server
from tests.dynamic_mcp.helpers import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"
ECHO = {"name": CALL, "arguments": {"group": "files", "name": "echo"}}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> OpenTelemetry:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetry(provider)


def traced_client(tracing: OpenTelemetry, audit: Audit | None = None) -> Client:
    """A client of a proxy that traces its requests."""
    hooks = Extras(Config((), audit=audit), Guard(), tracing)
    return Client(hooks=hooks)


@pytest.fixture
async def client(tracing: OpenTelemetry) -> Client:
    return traced_client(tracing)


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[], dict[SpanKind, ReadableSpan]]:
    """The ended spans, one of each kind."""

    def found() -> dict[SpanKind, ReadableSpan]:
        ended = exporter.get_finished_spans()
        by_kind = {span.kind: span for span in ended}
        assert len(by_kind) == len(ended)
        return by_kind

    return found


Spans = Callable[[], dict[SpanKind, ReadableSpan]]


def ids(span: ReadableSpan) -> tuple[str, str]:
    """The ids of the trace and of the span."""
    assert span.context is not None
    return format_trace_id(span.context.trace_id), format_span_id(span.context.span_id)


def traceparent(span: ReadableSpan) -> str:
    """The ``traceparent`` of this span."""
    assert span.context is not None
    return "00-{}-{}-{:02x}".format(*ids(span), span.context.trace_flags)


def parent(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format_span_id(span.parent.span_id)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def meta(client: Client) -> dict[str, Any]:
    """The ``_meta`` of the last request to the upstream."""
    found = client.upstream.last_params["_meta"]
    assert isinstance(found, dict)
    return found


# Contexts


async def test_call_has_two_spans_and_passes_the_context_of_the_second(client: Client, spans: Spans) -> None:
    await client.ask("tools/call", ECHO)

    server_span, client_span = spans()[SpanKind.SERVER], spans()[SpanKind.CLIENT]
    assert parent(server_span) is None
    assert parent(client_span) == ids(server_span)[1]
    assert meta(client) == {"traceparent": traceparent(client_span)}
    assert ids(client_span)[0] == ids(server_span)[0]


async def test_trace_of_the_client_continues(client: Client, spans: Spans) -> None:
    given = {"traceparent": CONTEXT, "tracestate": "a=1", "baggage": "user=x", "example.org/note": [1]}
    await client.ask("tools/call", {**ECHO, "_meta": given})

    server_span, client_span = spans()[SpanKind.SERVER], spans()[SpanKind.CLIENT]
    assert (ids(server_span)[0], parent(server_span)) == (TRACE, PARENT)
    assert meta(client) == {**given, "traceparent": traceparent(client_span)}


async def test_unsampled_trace_of_the_client_stays_unsampled(client: Client, spans: Spans) -> None:
    await client.ask("tools/call", {**ECHO, "_meta": {"traceparent": NOT_SAMPLED}})

    assert spans() == {}
    version, trace, span, flags = meta(client)["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert span != PARENT


@pytest.mark.parametrize(
    "given", [{"traceparent": "nonsense", "tracestate": "a=1"}, {"traceparent": 5}, {"traceparent": None}]
)
async def test_invalid_context_starts_a_new_trace(
    client: Client, spans: Spans, given: dict[str, object]
) -> None:
    answer = await client.ask("tools/call", {**ECHO, "_meta": given})

    assert "result" in answer
    assert parent(spans()[SpanKind.SERVER]) is None
    # The proxy does not pass the invalid context on.
    assert meta(client) == {"traceparent": traceparent(spans()[SpanKind.CLIENT])}


async def test_long_context_is_passed_whole(client: Client) -> None:
    baggage = ",".join(f"key{number}={'v' * 50}" for number in range(40))
    await client.ask("tools/call", {**ECHO, "_meta": {"traceparent": CONTEXT, "baggage": baggage}})
    assert meta(client)["baggage"] == baggage


async def test_keys_pass_unchanged_without_a_propagator(
    exporter: InMemorySpanExporter, spans: Spans, monkeypatch: pytest.MonkeyPatch, tracing: OpenTelemetry
) -> None:
    monkeypatch.setattr(propagate, "get_global_textmap", lambda: CompositePropagator([]))
    client = traced_client(OpenTelemetry(tracing._provider))
    await client.ask("tools/call", {**ECHO, "_meta": {"traceparent": CONTEXT}})

    assert meta(client) == {"traceparent": CONTEXT}
    assert parent(spans()[SpanKind.SERVER]) is None


async def test_requests_of_the_proxy_itself_have_no_span(
    tracing: OpenTelemetry, exporter: InMemorySpanExporter
) -> None:
    upstream = FakeUpstream()
    await tracing.traced(upstream, server("a")).request("tools/list", b"", Options(1.0))

    assert upstream.requests == [("tools/list", b"")]
    assert exporter.get_finished_spans() == ()


# Names and attributes


async def test_attributes_follow_the_conventions(client: Client, spans: Spans) -> None:
    client.upstream.agreed = Handshake(version="2025-06-18")
    client.send({"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}})
    await client.answers(1)
    (greeting,) = spans().values()
    client.send({"id": "seven", "method": "tools/call", "params": ECHO})
    await client.answers(2)

    assert greeting.name == "initialize"
    assert attributes(greeting) == {
        "mcp.method.name": "initialize",
        "mcp.protocol.version": "2025-11-25",
        "jsonrpc.request.id": "0",
        "network.transport": "pipe",
    }


async def test_attributes_of_a_call(client: Client, spans: Spans) -> None:
    client.upstream.agreed = Handshake(version="2025-06-18")
    await client.ask("tools/call", ECHO)

    shared = {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "network.transport": "pipe",
    }
    server_span, client_span = spans()[SpanKind.SERVER], spans()[SpanKind.CLIENT]
    assert server_span.name == f"tools/call {CALL}"
    assert attributes(server_span) == {**shared, "gen_ai.tool.name": CALL, "jsonrpc.request.id": "q"}
    assert client_span.name == "tools/call echo"
    assert attributes(client_span) == {
        **shared,
        "gen_ai.tool.name": "echo",
        "jsonrpc.request.id": "1",
        "mcp.protocol.version": "2025-06-18",
        "dynamic_mcp.group": "files",
    }
    assert {server_span.status.status_code, client_span.status.status_code} == {StatusCode.UNSET}


async def test_version_comes_from_a_modern_request(client: Client, spans: Spans) -> None:
    client.upstream.modern = True
    await client.ask("tools/call", ECHO, modern=True)
    assert {attributes(span)["mcp.protocol.version"] for span in spans().values()} == {"2026-07-28"}


async def test_texts_of_the_client_are_bounded(client: Client, spans: Spans) -> None:
    await client.ask("m" * 5000, {"_meta": {**REQUEST_META, era.PROTOCOL_VERSION: "v" * 5000}})
    span = spans()[SpanKind.SERVER]
    assert span.name == attributes(span)["mcp.method.name"] == "m" * MAX_FIELD
    assert attributes(span)["mcp.protocol.version"] == "v" * MAX_FIELD


async def test_span_contains_no_secrets(client: Client, exporter: InMemorySpanExporter) -> None:
    canary = "canary-5c2f"
    client.upstream.answer = UpstreamRefused(
        json.dumps({"code": -32000, "message": canary, "data": canary}).encode()
    )
    arguments = {"group": "files", "name": "echo", "args": {"token": canary}}
    await client.ask("tools/call", {"name": CALL, "arguments": arguments, "_meta": {"note": canary}})
    await client.ask("resources/read", {"uri": f"https://example.org/?token={canary}", "group": "files"})
    await client.ask("resources/read", {"uri": f"https://example.org/?token={canary}"})
    client.upstream.answer = json.dumps({"content": [{"type": "text", "text": canary}]}).encode()
    await client.ask("tools/call", {"name": CALL, "arguments": arguments})

    exported = [span.to_json() for span in exporter.get_finished_spans()]
    assert len(exported) == 7
    assert canary not in "".join(exported)


# Ends


@pytest.mark.parametrize(
    ("answer", "upstream", "here"),
    [
        (b'{"content":[],"isError":true}', "tool_error", "tool_error"),
        (b'{"content":[],"isError":5}', None, None),
        (UpstreamRefused(b'{"code":-32000,"message":"no"}'), "-32000", "-32000"),
        (UpstreamRefused(b'"no"'), "_OTHER", "_OTHER"),
        (UpstreamRefused(b'{"code":-32602,"message":"no"}'), "-32602", "tool_error"),
        (UpstreamTimeout("no answer"), "timeout", "tool_error"),
        (UpstreamGone("it crashed"), "UpstreamGone", "tool_error"),
        (HttpStatus("it answered with HTTP 503", status=503), "503", "tool_error"),
        (TooLarge("it is too large"), "TooLarge", "tool_error"),
        (RuntimeError("a mistake"), "RuntimeError", "-32603"),
    ],
)
async def test_failure_has_its_kind(
    client: Client, spans: Spans, answer: bytes | Exception, upstream: str | None, here: str | None
) -> None:
    client.upstream.answer = answer
    await client.ask("tools/call", ECHO)

    for kind, expected in ((SpanKind.CLIENT, upstream), (SpanKind.SERVER, here)):
        span = spans()[kind]
        assert attributes(span).get("error.type") == expected
        assert span.status.status_code is (StatusCode.UNSET if expected is None else StatusCode.ERROR)
        assert span.status.description is None
        code = expected if expected and expected[0] in "-_" else None
        assert attributes(span).get("rpc.response.status_code") == code


async def test_refused_call_has_no_second_span(client: Client, spans: Spans) -> None:
    await client.ask("nonsense/method", {"name": "x"})
    assert spans()[SpanKind.SERVER].name == "nonsense/method"
    assert attributes(spans()[SpanKind.SERVER])["error.type"] == "-32601"


async def test_cancelled_call_is_cancelled_in_both_spans(client: Client, spans: Spans) -> None:
    client.upstream.answer = None
    client.send({"id": 1, "method": "tools/call", "params": ECHO})
    await eventually(lambda: client.upstream.requests, "the call")
    client.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
    await eventually(lambda: len(spans()) == 2, "both spans")

    assert {attributes(span)["error.type"] for span in spans().values()} == {"cancelled"}
    assert client.lines == []


async def test_end_of_listen_is_not_a_failure(client: Client, spans: Spans) -> None:
    client.send(
        {"id": 1, "method": "subscriptions/listen", "params": {"_meta": REQUEST_META, "notifications": {}}}
    )
    await client.answers(1)
    client.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
    await eventually(spans, "the span")
    assert spans()[SpanKind.SERVER].status.status_code is StatusCode.UNSET


async def test_each_request_of_a_batch_has_a_span(client: Client, exporter: InMemorySpanExporter) -> None:
    client.send({"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-03-26"}})
    requests = [{"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": ECHO} for number in (1, 2)]
    client.send(json.dumps(requests).encode())
    await client.answers(2)

    ended = exporter.get_finished_spans()
    assert sorted(span.kind.name for span in ended) == ["CLIENT", "CLIENT", "SERVER", "SERVER", "SERVER"]
    servers = {ids(span)[1] for span in ended if span.kind is SpanKind.SERVER and span.name != "initialize"}
    assert {parent(span) for span in ended if span.kind is SpanKind.CLIENT} == servers


async def test_concurrent_calls_do_not_mix(client: Client, exporter: InMemorySpanExporter) -> None:
    for number in range(20):
        context = f"00-{number + 1:032x}-{number + 1:016x}-01"
        params = {**ECHO, "_meta": {"traceparent": context}}
        client.send({"id": number, "method": "tools/call", "params": params})
    await client.answers(20)

    by_trace: dict[int, dict[str, ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        assert span.context is not None
        by_trace.setdefault(span.context.trace_id, {})[span.kind.name] = span
    assert set(by_trace) == set(range(1, 21))
    assert all(parent(pair["CLIENT"]) == ids(pair["SERVER"])[1] for pair in by_trace.values())


async def test_audit_log_names_the_trace(tracing: OpenTelemetry, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    client = traced_client(tracing, Audit(file))
    await client.ask("tools/call", {**ECHO, "_meta": {"traceparent": CONTEXT}})
    client.hooks.record("reload")
    call, reload = map(json.loads, file.read_text().splitlines())
    assert call["trace_id"] == TRACE
    assert "trace_id" not in reload


async def test_listing_belongs_to_the_trace_of_its_request(
    client: Client, tracing: OpenTelemetry, spans: Spans
) -> None:
    client.upstream.answer = b'{"tools":[]}'
    client.upstream.agreed = Handshake({"tools": Raw(b"{}")})
    group = client.groups[0]
    # Use the real listing in place of the fake one.
    group.listing = super(type(group), group).listing  # type: ignore[method-assign]
    await client.tool(GET, {"group": "files"})

    assert spans()[SpanKind.CLIENT].name == "tools/list"
    assert parent(spans()[SpanKind.CLIENT]) == ids(spans()[SpanKind.SERVER])[1]
    assert set(meta(client)) == {"traceparent"}
