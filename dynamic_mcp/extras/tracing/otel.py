"""Traces with OpenTelemetry (extra ``otel``): a SERVER span for each request of the client, and a CLIENT span for each upstream request.

Names and attributes follow the semantic conventions of OpenTelemetry for MCP. The context is in ``params._meta`` of the client's request
and of the upstream request, in the keys of the configured propagators (MCP SEP-414: ``traceparent``, ``tracestate``, ``baggage``). The
environment variables of the SDK define the sampler, the batches and the collector.

A span contains names, ids, durations and kinds of errors. It contains no arguments, results, error texts, URIs, addresses or session
ids, because any of these may be a secret. The SDK and the collector never affect a request or stdout, and delay the end of the proxy by
at most ``CLOSE_GRACE`` seconds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from importlib.metadata import entry_points
from typing import Any

import anyio
import msgspec
from msgspec import Raw
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from dynamic_mcp import __version__
from dynamic_mcp.config.model import Server, StdioTransport
from dynamic_mcp.errors import HttpStatus, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.extras.audit import MAX_FIELD
from dynamic_mcp.extras.tracing.base import EXPORTER
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.upstream.http.wrapper import UpstreamWrapper

#: Seconds to send the last spans at the end of the proxy, while its servers end.
CLOSE_GRACE = 1.0

#: The entry points of the SDK's exporters, and their names for the two kinds of OTLP.
_EXPORTERS = "opentelemetry_traces_exporter"
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: A request that stays open. Its cancellation is its normal end.
_LISTEN = "subscriptions/listen"

#: The attribute for the member ``name`` of params, by method.
_NAMED = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name"}


def from_environment(environment: Mapping[str, str]) -> OpenTelemetry:
    """Traces for the configured exporters. Raises LookupError for an unknown exporter, and the errors of the SDK."""
    _take_over_log()
    defaults = {"service.name": "dynamic-mcp", "service.version": __version__}
    # The attributes in the environment override the defaults.
    resource = Resource.create(defaults).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for name in (environment.get(EXPORTER, "").strip() or "otlp").split(","):
        provider.add_span_processor(BatchSpanProcessor(_exporter(name.strip(), environment)))
    return OpenTelemetry(provider)


def _exporter(name: str, environment: Mapping[str, str]) -> Any:
    if name == "otlp":
        protocol = next(filter(None, map(environment.get, _PROTOCOLS)), "http/protobuf")
        name = _OTLP.get(protocol, f"otlp with the protocol {protocol}")
    for found in entry_points(group=_EXPORTERS, name=name):
        return found.load()()
    raise LookupError(f"no exporter {name!r} is installed")


class OpenTelemetry:
    """The traces of this process (``base.Tracing``)."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("dynamic_mcp", __version__)
        self._propagator = propagate.get_global_textmap()

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> OpenTelemetrySpan:
        parsed = _parse(params)
        name, attributes = _describe(method, parsed.name, version, pipe=True)
        attributes["jsonrpc.request.id"] = (_text(id) or id.decode())[:MAX_FIELD]
        carrier = self._carried(parsed.meta)
        parent = self._propagator.extract(
            {key: _text(raw) for key, raw in carrier.items()}, contexts.Context()
        )
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        return OpenTelemetrySpan(span, method, trace.set_span_in_context(span, parent))

    def traced(self, upstream: Upstream, server: Server) -> Upstream:
        return _Traced(self, upstream, server)

    def current_trace_id(self) -> str | None:
        found = trace.get_current_span().get_span_context()
        return trace.format_trace_id(found.trace_id) if found.is_valid else None

    @contextmanager
    def client_span(
        self, method: str, params: bytes, attributes: Mapping[str, str], version: str, *, pipe: bool
    ) -> Iterator[tuple[trace.Span, bytes]]:
        """The span of a request to an upstream, and the params with its context."""
        parsed = _parse(Raw(params))
        name, described = _describe(method, parsed.name, version, pipe=pipe)
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes={**described, **attributes})
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span))
        try:
            yield span, self._with_meta(params, parsed.meta, carrier)
        except asyncio.CancelledError:
            _fail(span, "cancelled")
            raise
        except UpstreamRefused as refusal:
            _refused(span, refusal.code)
            raise
        except Exception as error:
            _fail(span, _kind(error))
            raise
        finally:
            span.end()

    async def close(self) -> None:
        """Send the last spans. The SDK may take half a minute, so it runs in a thread that ends with the process."""
        is_shut_down, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):
                # The loop is closed after ``CLOSE_GRACE``.
                loop.call_soon_threadsafe(is_shut_down.set)

        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        with anyio.move_on_after(CLOSE_GRACE, shield=True) as waiting:
            await is_shut_down.wait()
        if waiting.cancelled_caught:
            log.warning("the last traces are lost: they could not be sent within %g s", CLOSE_GRACE)

    def _carried(self, meta: Mapping[str, Raw]) -> dict[str, Raw]:
        """The members of ``_meta`` with the trace context."""
        return {key: meta[key] for key in self._propagator.fields if key in meta}

    def _with_meta(self, params: bytes, meta: dict[str, Raw], carrier: dict[str, str]) -> bytes:
        if not carrier:
            return params
        # These keys contain the context of the previous hop.
        kept = {key: raw for key, raw in meta.items() if key not in self._propagator.fields}
        members = jsonrpc.decode_members(params or b"{}")
        return msgspec.json.encode({**members, "_meta": {**kept, **carrier}})


class OpenTelemetrySpan:
    """The span of one request of the client (``hooks.RequestSpan``)."""

    def __init__(self, span: trace.Span, method: str, context: contexts.Context) -> None:
        self._span = span
        self._method = method
        self.context: Context = copy_context()
        self.context.run(contexts.attach, context)

    def finish(self, line: bytes) -> None:
        if self._span.is_recording():
            answer = jsonrpc.parse(line)
            if answer.error:
                _refused(self._span, UpstreamRefused(bytes(answer.error)).code)
            else:
                _succeeded(self._span, self._method, bytes(answer.result))
            self._span.end()

    def abandon(self) -> None:
        if self._method != _LISTEN:
            _fail(self._span, "cancelled")
        self._span.end()


class _Traced(UpstreamWrapper):
    """An upstream with a span for each request in a trace."""

    def __init__(self, tracing: OpenTelemetry, inner: Upstream, server: Server) -> None:
        super().__init__(inner)
        self._tracing = tracing
        self._pipe = isinstance(server.transport, StdioTransport)
        self._attributes = {"dynamic_mcp.group": server.name}

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method == _LISTEN or not trace.get_current_span().get_span_context().is_valid:
            return await super().request(method, params, options)
        version = era.MODERN if self.modern else self.agreed.version
        with self._tracing.client_span(method, params, self._attributes, version, pipe=self._pipe) as (
            span,
            params_with_context,
        ):
            options = msgspec.structs.replace(options, on_id=_id_setter(span))
            result = await super().request(method, params_with_context, options)
            _succeeded(span, method, result)
        return result


class _Params(msgspec.Struct):
    name: Raw = Raw(b"")
    meta: dict[str, Raw] = msgspec.field(name="_meta", default_factory=dict)


def _parse(params: Raw) -> _Params:
    try:
        return msgspec.json.decode(params or b"{}", type=_Params)
    except msgspec.DecodeError:
        return _Params()


def _describe(method: str, name: Raw, version: str | None, *, pipe: bool) -> tuple[str, dict[str, str]]:
    """The name and the attributes of the span of a request."""
    label = method[:MAX_FIELD]
    attributes = {"mcp.method.name": label, "network.transport": "pipe" if pipe else "tcp"}
    if not pipe:
        attributes["network.protocol.name"] = "http"
    if version:
        attributes["mcp.protocol.version"] = version[:MAX_FIELD]
    if method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
    if method in _NAMED and (target := _text(name)[:MAX_FIELD]):
        attributes[_NAMED[method]] = target
        label = f"{label} {target}"
    return label, attributes


class _Result(msgspec.Struct):
    is_error: bool = msgspec.field(name="isError", default=False)
    version: str = msgspec.field(name="protocolVersion", default="")


def _succeeded(span: trace.Span, method: str, result: bytes) -> None:
    if not span.is_recording() or method not in ("tools/call", "initialize"):
        return
    try:
        parsed = msgspec.json.decode(result, type=_Result)
    except msgspec.DecodeError:
        return
    if parsed.is_error:
        _fail(span, "tool_error")
    if parsed.version:
        span.set_attribute("mcp.protocol.version", parsed.version)


def _refused(span: trace.Span, code: float | None) -> None:
    """Note a JSON-RPC error."""
    label = "_OTHER" if code is None else str(code)
    span.set_attribute("rpc.response.status_code", label)
    _fail(span, label)


def _kind(error: Exception) -> str:
    if isinstance(error, UpstreamTimeout):
        return "timeout"
    return str(error.status) if isinstance(error, HttpStatus) else type(error).__name__


def _fail(span: trace.Span, what: str) -> None:
    span.set_attribute("error.type", what)
    span.set_status(StatusCode.ERROR)


def _id_setter(span: trace.Span) -> Callable[[int], None]:
    return lambda id: span.set_attribute("jsonrpc.request.id", str(id))


def _text(raw: bytes | Raw) -> str:
    """The text of a JSON string; empty for anything else."""
    try:
        return msgspec.json.decode(raw, type=str) if raw else ""
    except msgspec.DecodeError:
        return ""


# The log of the SDK


class _LogOnce(logging.Handler):
    """Passes on the log of the SDK. Repetitions go to the debug level, because a collector may be unreachable for days.

    The records lose the texts from the environment, because a header for a collector may be a secret.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged: set[tuple[str, int]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        source = (record.name, record.lineno)
        level = logging.DEBUG if source in self._logged else record.levelno
        self._logged.add(source)
        log.log(level, "traces: %s", _log_text(record))


def _log_text(record: logging.LogRecord) -> str:
    is_exporter = record.name.startswith("opentelemetry.exporter")
    arguments = record.args if isinstance(record.args, tuple) else ()
    try:
        text = str(record.msg) % tuple(_harmless(value, is_exporter=is_exporter) for value in arguments)
    except (TypeError, ValueError):
        text = str(record.msg)
    error = record.exc_info[0] if record.exc_info else None
    return text if error is None else f"{text} ({error.__name__})"


def _harmless(value: object, *, is_exporter: bool) -> object:
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and is_exporter:
        # The reason phrase of a reply, or the kind of the exported data.
        return value[:100]
    return type(value).__name__ if isinstance(value, BaseException) else "(...)"


def _take_over_log() -> None:
    sdk_log = logging.getLogger("opentelemetry")
    if not sdk_log.handlers:
        sdk_log.addHandler(_LogOnce())
    sdk_log.propagate = False
