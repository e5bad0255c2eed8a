"""A receiver of OTLP over HTTP, like that of a collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """The received spans. A receiver that hangs never answers a request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requested = threading.Event()
        self.over = threading.Event()
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        """In the order of their ends."""
        scopes = [
            scope
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
        ]
        return [span for scope in scopes for span in scope.spans]

    @property
    def resource(self) -> dict[str, str]:
        """The resource attributes of the first spans."""
        return values(self.requests[0].resource_spans[0].resource.attributes)


def values(attributes: Iterator[KeyValue]) -> dict[str, str]:
    """Attributes by name."""
    return {one.key: one.value.string_value for one in attributes}


@contextmanager
def receiving(*, hangs: bool = False) -> Iterator[Receiver]:
    """A receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requested.set()
            if hangs:
                receiver.over.wait(60)
                return
            receiver.requests.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        receiver = Receiver(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.over.set()
            http.shutdown()
            thread.join()
