"""Upstream servers that do next to nothing, so that the proxy is what is measured.

`python -I -S upstreams.py http` prints its URL and serves Streamable HTTP (handshake revisions, JSON answers, no sessions);
`python -I -S upstreams.py stdio` speaks on its standard streams. Tools: `echo` gives its arguments back.
"""

import asyncio
import json
import sys

_TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}}]
_REASONS = {200: b"OK", 202: b"Accepted", 404: b"Not Found", 405: b"Method Not Allowed"}


def answer(line: bytes) -> bytes | None:
    """The answer to one message; None for a notification."""
    message = json.loads(line)
    if "id" not in message:
        return None
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": _TOOLS}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": json.dumps(params.get("arguments"))}]}
    else:
        error = {"code": -32601, "message": "Method not found"}
        return json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()


class Http(asyncio.Protocol):
    """HTTP/1.1 with keep-alive and Content-Length, which is all that is asked of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            if not head.startswith(b"post"):
                self._reply(405, b"")
            elif (found := answer(body)) is None:
                self._reply(202, b"")
            else:
                self._reply(200, found)

    def _reply(self, status: int, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, _REASONS[status], len(body), body)
        )


async def serve_http() -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/mcp\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def serve_stdio() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin.buffer:
        if (found := answer(line)) is not None:
            sys.stdout.buffer.write(found + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        asyncio.run(serve_http())
    else:
        serve_stdio()
