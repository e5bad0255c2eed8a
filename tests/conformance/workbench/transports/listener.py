"""A small server behind Streamable HTTP that has the fault of its second argument. It writes what it reads to stderr.

python listener.py PORT FAULT CONFIG
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

PORT, FAULT = int(sys.argv[1]), sys.argv[2]
SSE = "text/event-stream"
GREETING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "serverInfo": {"name": "fake", "version": "1"},
}
TOOL = {
    "name": "echo",
    "inputSchema": {"type": "object", "properties": {"place": {"type": "string", "x-mcp-header": "Place"}}},
}

#: responses that are no HTTP, or an unusual one
BROKEN = {
    "bad-chunks": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "huge-header": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
    "strange-header": b"HTTP/1.1 200 \xff\r\nContent-Type: \xff/\xfe\r\nContent-Length: 2\r\n\r\n{}",
    "cut-body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
}


def result_of(message: dict[str, Any]) -> dict[str, Any]:
    """The honest result of a request."""
    results: dict[str, dict[str, Any]] = {"initialize": GREETING, "tools/list": {"tools": [TOOL]}}
    return results.get(message["method"], {"of": message["id"]})


def event(message: Any, id: str | None = None, retry: int | None = None) -> bytes:
    """One event with a message; an empty text primes the stream."""
    lines = [] if id is None else [f"id: {id}"]
    lines += [] if retry is None else [f"retry: {retry}"]
    text = message if isinstance(message, str) else json.dumps(message)
    return "\n".join([*lines, f"data: {text}", "", ""]).encode()


class Handler(BaseHTTPRequestHandler):
    """The endpoint /mcp."""

    protocol_version = "HTTP/1.1"
    #: the answers that a later stream brings
    kept: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Take one message."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.tell(message.get("method", "answer"))
        if "id" not in message or "method" not in message:
            self.confirm()
            return
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}
        if FAULT.startswith("sse"):
            self.kept.append(answer)
            self.reply(202, b"Accepted")
        elif message["method"] in ("initialize", "tools/list"):
            self.reply(200, json.dumps(answer).encode())
        else:
            self.answer(answer)

    def confirm(self) -> None:
        """Confirm a notification or an answer."""
        if FAULT == "never-202":
            self.reply(200, b"")
        elif FAULT == "202-with-a-body":
            self.reply(202, b"Accepted")
        elif FAULT == "answers-notifications":
            self.reply(202, b'{"jsonrpc": "2.0", "id": 1001, "result": {}}')
        else:
            self.reply(202, b"")

    def answer(self, answer: dict[str, Any]) -> None:
        """Answer a request, in the way of the fault."""
        good = json.dumps(answer).encode()
        other = json.dumps({**answer, "id": "of-another-session"}).encode()
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "refused"}}
        match FAULT:
            case "another-id":
                self.reply(200, other)
            case "another-id-on-the-stream":
                self.stream(b"data: " + other + b"\n\n", event(answer))
            case "twice":
                self.stream(event(answer), event(answer))
            case "loses":
                self.stream(event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}))
            case "wrong-type":
                self.reply(200, good, "text/plain")
            case "only-202":
                self.reply(202, b"")
            case "html":
                self.reply(502, b"<html>Bad Gateway</html>", "text/html")
            case "refuses":
                self.reply(400, json.dumps(error).encode())
            case "refuses-with-another-id":
                self.reply(400, json.dumps({**error, "id": "server-error"}).encode())
            case "result-with-500":
                self.reply(500, good)
            case "redirects":
                self.send_response(307)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case "not-json":
                self.reply(200, b"{half")
            case "silent":
                time.sleep(30)
            case "endless-body" | "endless-comments" | "endless-event":
                self.endless()
            case "not-http":
                self.wfile.write(b"SMTP ready\r\n\r\n")
                self.close_connection = True
            case "bad-chunks" | "huge-header" | "strange-header" | "cut-body":
                self.wfile.write(BROKEN[FAULT])
                self.close_connection = True
            case "cuts":
                self.kept.append(answer)
                self.stream(event("", id="1-1", retry=10))
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "on-the-get-stream":
                self.kept.append(answer)
                time.sleep(30)
            case _:
                self.stream(event("", id="1-1"), event(answer, id="1-2"))

    def do_GET(self) -> None:
        """Open the stream of the session, or resume one."""
        self.tell("GET", self.headers.get("Last-Event-ID", ""))
        if FAULT.startswith("sse"):
            self.session()
        elif FAULT == "cuts" and self.headers.get("Last-Event-ID"):
            self.stream(*(event(answer, id="1-2") for answer in self.kept))
        elif FAULT == "on-the-get-stream":
            while not self.kept:
                time.sleep(0.02)
            self.stream(event(self.kept.pop()))
        elif self.path == "/ready":
            is_known = FAULT != "wants-a-key" or self.headers.get("X-Key") == "sesame"
            self.reply(200 if is_known else 401, b"")
        elif FAULT == "no-405":
            self.reply(404, b"")
        else:
            self.reply(405, b"")

    def do_DELETE(self) -> None:
        """End the session."""
        self.tell("DELETE")
        self.reply(200, b"")

    def endless(self) -> None:
        """A body without an end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if FAULT == "endless-body" else SSE)
        self.send_header("Connection", "close")
        self.end_headers()
        piece = {"endless-body": b" ", "endless-event": b"data: x"}.get(FAULT, b": comment\n") * 4096
        while True:
            self.wfile.write(piece)

    def session(self) -> None:
        """The stream of HTTP+SSE."""
        self.send_response(200)
        self.send_header("Content-Type", SSE)
        self.send_header("Connection", "close")
        self.end_headers()
        endpoint = {"sse-foreign": "http://192.0.2.1/messages", "sse-nothing": ""}.get(FAULT, "/messages")
        if endpoint:
            self.wfile.write(f"event: endpoint\ndata: {endpoint}\n\n".encode())
        sent = 0
        while sent < (1 if FAULT == "sse-ends" else 100):
            for answer in self.kept[sent:]:
                sent += 1
                self.wfile.write(event(answer))
            time.sleep(0.02)

    def stream(self, *events: bytes) -> None:
        """A whole event stream."""
        self.reply(200, b"".join(events), SSE)

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """A whole response; the session begins with the first."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Mcp-Session-Id", "two words" if FAULT == "strange-session" else "s-1")
        self.end_headers()
        self.wfile.write(body)

    def tell(self, *words: str) -> None:
        """Write to stderr what was read, with the headers of MCP."""
        headers = {name: value for name, value in self.headers.items() if name.lower().startswith("mcp-")}
        print(*words, json.dumps(headers), file=sys.stderr, flush=True)

    def log_message(self, *args: Any) -> None:
        """Write nothing else."""


if FAULT == "never-listens":
    time.sleep(60)
if FAULT == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
print("listening on", PORT, flush=True)
server.serve_forever()
