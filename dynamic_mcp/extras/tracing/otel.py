"""Traces by OpenTelemetry (extra ``otel``): a SERVER span for each request of the client, a CLIENT span for each that it leads to.

Names and attributes are those of OpenTelemetry's conventions for MCP. The context comes with the client's request in ``params._meta`` and
goes to the upstream there, in the keys of the configured propagators (MCP SEP-414: ``traceparent``, ``tracestate``, ``baggage``). Sampler,
batches and collector are as the environment variables of the SDK say.

A span has names, ids, durations and kinds of errors. Arguments, results, texts of errors, URIs, addresses and session ids are left out:
any of them may hold a secret. Nothing that the SDK or a collector does reaches a request or stdout, and the end of the proxy waits
for them ``CLOSE_GRACE`` seconds at most.
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
from dynamic_mcp.extras.audit import MAX_TEXT
from dynamic_mcp.extras.tracing.base import EXPORTER
from dynamic_mcp.log import log
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.upstream.base import Options, Upstream
from dynamic_mcp.upstream.http.wrapper import UpstreamWrapper

#: Seconds that the last spans may take to be handed over when the proxy ends, while its servers end.
CLOSE_GRACE = 1.0

#: The entry points of the SDK's exporters; the two kinds of OTLP have names of their own there.
_EXPORTERS = "opentelemetry_traces_exporter"
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: A request that stays open: no request of the client waits for it, and its cancellation is its usual end.
_LISTEN = "subscriptions/listen"

#: What the member ``name`` of params names, by method.
_NAMED = {"tools/call": "gen_ai.tool.name", "prompts/get": "gen_ai.prompt.name"}


def from_environment(environment: Mapping[str, str]) -> OpenTelemetry:
    """Traces to where the environment says. Raises LookupError for an exporter that is not known, and whatever the SDK raises."""
    _take_over_log()
    own = {"service.name": "dynamic-mcp", "service.version": __version__}
    # What the environment says of the service goes before what we say.
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
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
    """See ``base.Tracing``."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("dynamic_mcp", __version__)
        self._propagator = propagate.get_global_textmap()

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> OpenTelemetrySpan:
        asked = _read(params)
        name, attributes = _described(method, asked.name, version, pipe=True)
        attributes["jsonrpc.request.id"] = (_text(id) or id.decode())[:MAX_TEXT]
        carrier = self._carried(asked.meta)
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
    def relayed(
        self, method: str, params: bytes, attributes: Mapping[str, str], version: str, *, pipe: bool
    ) -> Iterator[tuple[trace.Span, bytes]]:
        """The span of a request to an upstream, and params that hand it over."""
        asked = _read(Raw(params))
        name, described = _described(method, asked.name, version, pipe=pipe)
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes={**described, **attributes})
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span))
        try:
            yield span, self._with_meta(params, asked.meta, carrier)
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
        """See ``Tracing``: the SDK may take half a minute, so it has a thread that ends with the process."""
        over, loop = asyncio.Event(), asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):
                # The loop is closed: nobody waited so long.
                loop.call_soon_threadsafe(over.set)

        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        with anyio.move_on_after(CLOSE_GRACE, shield=True) as waiting:
            await over.wait()
        if waiting.cancelled_caught:
            log.warning("the last traces were not handed over within %g s and are lost", CLOSE_GRACE)

    def _carried(self, meta: Mapping[str, Raw]) -> dict[str, Raw]:
        """The members of ``_meta`` that carry a context."""
        return {key: meta[key] for key in self._propagator.fields if key in meta}

    def _with_meta(self, params: bytes, meta: dict[str, Raw], carrier: dict[str, str]) -> bytes:
        if not carrier:
            return params
        # What came in these keys was the context of the hop before.
        kept = {key: raw for key, raw in meta.items() if key not in self._propagator.fields}
        members = msgspec.json.decode(params or b"{}", type=dict[str, Raw])
        return msgspec.json.encode({**members, "_meta": {**kept, **carrier}})


class OpenTelemetrySpan:
    """See ``hooks.RequestSpan``."""

    def __init__(self, span: trace.Span, method: str, within: contexts.Context) -> None:
        self._span = span
        self._method = method
        self.context: Context = copy_context()
        self.context.run(contexts.attach, within)

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
    """An upstream with a span for each request that a request of the client leads to."""

    def __init__(self, tracing: OpenTelemetry, behind: Upstream, server: Server) -> None:
        super().__init__(behind)
        self._tracing = tracing
        self._pipe = isinstance(server.transport, StdioTransport)
        self._attributes = {"dynamic_mcp.group": server.name}

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method == _LISTEN or not trace.get_current_span().get_span_context().is_valid:
            return await super().request(method, params, options)
        version = era.MODERN if self.modern else self.agreed.version
        with self._tracing.relayed(method, params, self._attributes, version, pipe=self._pipe) as (
            span,
            handing,
        ):
            options = msgspec.structs.replace(options, on_id=_id_setter(span))
            result = await super().request(method, handing, options)
            _succeeded(span, method, result)
        return result


class _Params(msgspec.Struct):
    name: Raw = Raw(b"")
    meta: dict[str, Raw] = msgspec.field(name="_meta", default_factory=dict)


def _read(params: Raw) -> _Params:
    try:
        return msgspec.json.decode(params or b"{}", type=_Params)
    except msgspec.DecodeError:
        return _Params()


def _described(method: str, name: Raw, version: str | None, *, pipe: bool) -> tuple[str, dict[str, str]]:
    """The name and the attributes that a request has on either side."""
    shown = method[:MAX_TEXT]
    attributes = {"mcp.method.name": shown, "network.transport": "pipe" if pipe else "tcp"}
    if not pipe:
        attributes["network.protocol.name"] = "http"
    if version:
        attributes["mcp.protocol.version"] = version[:MAX_TEXT]
    if method == "tools/call":
        attributes["gen_ai.operation.name"] = "execute_tool"
    if method in _NAMED and (target := _text(name)[:MAX_TEXT]):
        attributes[_NAMED[method]] = target
        shown = f"{shown} {target}"
    return shown, attributes


class _Result(msgspec.Struct):
    is_error: bool = msgspec.field(name="isError", default=False)
    version: str = msgspec.field(name="protocolVersion", default="")


def _succeeded(span: trace.Span, method: str, result: bytes) -> None:
    if not span.is_recording() or method not in ("tools/call", "initialize"):
        return
    try:
        read = msgspec.json.decode(result, type=_Result)
    except msgspec.DecodeError:
        return
    if read.is_error:
        _fail(span, "tool_error")
    if read.version:
        span.set_attribute("mcp.protocol.version", read.version)


def _refused(span: trace.Span, code: float | None) -> None:
    """The other side answered with a JSON-RPC error."""
    shown = "_OTHER" if code is None else str(code)
    span.set_attribute("rpc.response.status_code", shown)
    _fail(span, shown)


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
    """A JSON string; empty for anything else."""
    try:
        return msgspec.json.decode(raw, type=str) if raw else ""
    except msgspec.DecodeError:
        return ""


# What the SDK has to say


class _Once(logging.Handler):
    """Passes on what the SDK logs: each kind of trouble once, and then at debug level, because a collector may be away for days.

    Texts from the environment are left out: a header of a collector is a secret.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, int]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        place = (record.name, record.lineno)
        level = logging.DEBUG if place in self._said else record.levelno
        self._said.add(place)
        log.log(level, "traces: %s", _told(record))


def _told(record: logging.LogRecord) -> str:
    is_exporter = record.name.startswith("opentelemetry.exporter")
    arguments = record.args if isinstance(record.args, tuple) else ()
    try:
        text = str(record.msg) % tuple(_harmless(one, is_exporter=is_exporter) for one in arguments)
    except (TypeError, ValueError):
        text = str(record.msg)
    error = record.exc_info[0] if record.exc_info else None
    return text if error is None else f"{text} ({error.__name__})"


def _harmless(value: object, *, is_exporter: bool) -> object:
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and is_exporter:
        # The reason of an answer, or what is exported.
        return value[:100]
    return type(value).__name__ if isinstance(value, BaseException) else "(...)"


def _take_over_log() -> None:
    theirs = logging.getLogger("opentelemetry")
    if not theirs.handlers:
        theirs.addHandler(_Once())
    theirs.propagate = False
