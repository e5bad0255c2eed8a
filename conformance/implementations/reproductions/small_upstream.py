"""A small MCP server, whose behaviour a program can change. It needs only the standard library.

`python upstream.py FILE [WORD ...]` serves on stdin and stdout, and appends each start and each message to FILE.
`OneFileUpstream` serves behind a URL: Streamable HTTP at `url`, and HTTP+SSE of 2024-11-05 at `sse_url`.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Message = dict[str, Any]
TEXT = {"type": "object", "properties": {"text": {"type": "string"}, "seconds": {"type": "number"}}}
TOOLS = [{"name": name, "description": name, "inputSchema": TEXT} for name in ("echo", "slow", "rich")]
#: What `rich` returns: members that a proxy has no reason to drop.
RICH: Message = {
    "content": [{"type": "text", "text": "rich", "annotations": {"priority": 0.5}, "x-block": 1}],
    "structuredContent": {"kept": True, "n": 12345678901234567890},
    "_meta": {"example.com/trace": "abc"},
    "x-result": {"kept": True},
}
CAPABILITIES = {"tools": {"listChanged": True}, "prompts": {}, "resources": {}, "logging": {}}


def result_of(message: Message) -> Message:
    """The result of an honest server. `echo` returns its text, `slow` first waits for `seconds`."""
    params = message.get("params") or {}
    arguments = params.get("arguments") or {}
    if message["method"] == "initialize":
        server = {"name": "upstream", "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": CAPABILITIES,
            "serverInfo": server,
        }
    if message["method"] == "tools/call":
        if params["name"] == "slow":
            time.sleep(arguments.get("seconds", 1))
        if params["name"] == "rich":
            return RICH
        return {"content": [{"type": "text", "text": str(arguments.get("text", ""))}], "isError": False}
    lists: dict[str, Message] = {
        "tools/list": {"tools": TOOLS},
        "prompts/list": {"prompts": [{"name": "greet"}]},
        "resources/list": {"resources": [{"uri": "memo:///one", "name": "one"}]},
        "resources/templates/list": {"resourceTemplates": []},
    }
    return lists.get(message["method"], {})


class OneFileUpstream:
    """A server on a free port of 127.0.0.1.

    `react` sees every message first. It returns an int for the HTTP status of the answer, or an object for the whole answer. A list has the
    messages of an event stream, a pair has the content type and the text, and None stands for the honest answer. With `sessions`, the
    server assigns a session and requires it.
    """

    def __init__(self, react: Callable[[Message], Any] | None = None, *, sessions: bool = False) -> None:
        self.react = react or (lambda message: None)
        self.needs_session = sessions
        self.numbers = itertools.count(1)
        self.messages: list[Message] = []
        self.headers: list[dict[str, str]] = []
        self.sessions: set[str] = set()
        #: The open event streams by the number in the path of their messages.
        self.streams: dict[str, queue.Queue[str | None]] = {}
        handler = type("Handler", (_Handler,), {"upstream": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.sse_url = f"http://127.0.0.1:{self.port}/sse"

    def __enter__(self) -> OneFileUpstream:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.drop_streams()
        self._server.shutdown()
        self._server.server_close()

    def drop_streams(self) -> None:
        """End every open event stream, as a restarted load balancer does."""
        for stream in self.streams.values():
            stream.put(None)
        self.streams.clear()

    def forget_sessions(self) -> None:
        """Forget all sessions, as a restarted server does: each old id gets 404."""
        self.sessions.clear()

    def methods(self) -> list[str]:
        return [message.get("method", "answer") for message in self.messages]

    def calls(self) -> list[Message]:
        return [message["params"] for message in self.messages if message.get("method") == "tools/call"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: OneFileUpstream

    def log_message(self, *args: object) -> None:
        pass

    def handle(self) -> None:
        # A proxy may close a connection at any time.
        with suppress(ConnectionError):
            super().handle()

    def _answer(self, status: int, body: Message | None = None, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if body is not None:
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _text(self, kind: str, text: str) -> None:
        """Answer with exactly this text; the stream of events stays open for a while after it."""
        is_stream = kind == "text/event-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text.encode())
        self.wfile.flush()
        if is_stream:
            time.sleep(15)
        self.close_connection = True

    def _stream(self, messages: list[Message]) -> None:
        content = "".join(f"event: message\ndata: {json.dumps(message)}\n\n" for message in messages).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if not self.path.startswith("/sse"):
            self._answer(405)
            return
        stream: queue.Queue[str | None] = queue.Queue()
        path = f"/messages/{next(self.upstream.numbers)}"
        self.upstream.streams[path] = stream
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        stream.put(f"event: endpoint\ndata: {path}\n\n")
        with suppress(ConnectionError):
            while (event := stream.get()) is not None:
                self.wfile.write(event.encode())
                self.wfile.flush()
        self.close_connection = True

    def do_DELETE(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        up = self.upstream
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # The proxy closed the connection in the middle of its message.
            self.close_connection = True
            return None
        message = json.loads(body)
        up.messages.append(message)
        up.headers.append(dict(self.headers))
        first = message.get("method") == "initialize"
        if up.needs_session and not first and self.headers.get("Mcp-Session-Id") not in up.sessions:
            return self._answer(404)
        stream = up.streams.get(self.path)
        if self.path.startswith("/messages") and stream is None:
            return self._answer(404)
        reaction = up.react(message)
        if isinstance(reaction, int):
            return self._answer(reaction)
        if stream or "id" not in message or "method" not in message:
            self._answer(202)
        if "id" not in message or "method" not in message:
            return None
        if isinstance(reaction, list):
            return self._stream(reaction)
        if isinstance(reaction, tuple):
            return self._text(*reaction)

        def answer() -> Message:
            return reaction or {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}

        if stream:
            # In a thread of its own, because the next message can come on the same connection.
            put = stream.put
            return threading.Thread(
                target=lambda: put(f"event: message\ndata: {json.dumps(answer())}\n\n")
            ).start()
        if first and up.needs_session:
            session = f"session-{len(up.messages)}"
            up.sessions.add(session)
            return self._answer(200, answer(), Mcp_Session_Id=session)
        return self._answer(200, answer())


def stdio_command(journal: Path, *words: str) -> list[str]:
    """The command of the server on stdin and stdout; `words` choose its behaviour."""
    return [sys.executable, "-I", os.path.realpath(__file__), str(journal), *words]


def write_config(file: Path, servers: dict[str, Any]) -> str:
    """Write a file with `mcpServers`; a list is the command of a server on stdin and stdout. Return its path."""
    entries = {n: {"command": s[0], "args": s[1:]} if isinstance(s, list) else s for n, s in servers.items()}
    file.write_text(json.dumps({"mcpServers": entries}))
    return str(file)


def read_journal(journal: Path) -> list[Message]:
    """The entries so far: `{"pid": ...}` for each start, then the messages."""
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def serve_stdio(journal: str, words: set[str]) -> None:
    """Serve until the end of the input. Each request has its own thread, so a slow call delays no other one."""
    lock = threading.Lock()

    def note(entry: Message) -> None:
        with lock, open(journal, "a") as file:
            file.write(json.dumps(entry) + "\n")

    def write(text: str) -> None:
        with lock:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def handle(message: Message) -> None:
        result = result_of(message)
        if "loop" in words and message["method"] == "tools/list":
            result = {**result, "nextCursor": "again"}
        if "progress" in words and message["method"] == "tools/call":
            token = message["params"].get("_meta", {}).get("progressToken")
            for step in (1, 2):
                params = {"progressToken": token, "progress": step}
                write(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
        if "changed" in words and message["method"] == "tools/call":
            write('{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}')
        if "junk" in words:
            write(f"answering {message['method']}")
        write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    note({"pid": os.getpid(), "environment": sorted(os.environ), "directory": os.getcwd()})
    if "junk" in words:
        write("Server listening")
    for line in sys.stdin:
        message = json.loads(line)
        note(message)
        if "die" in words and message.get("method") == "tools/call":
            os._exit(1)
        if "id" in message and "method" in message:
            threading.Thread(target=handle, args=(message,), daemon=True).start()
    note({"end": "stdin"})
    if "stay" in words:
        time.sleep(60)


if __name__ == "__main__":
    serve_stdio(sys.argv[1], set(sys.argv[2:]))
