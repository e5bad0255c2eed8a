"""Upstream servers that do next to nothing, so that the benchmark measures the proxy.

`python -I -S upstreams.py http` prints its URL and serves Streamable HTTP (legacy revisions, JSON answers, no sessions).
`python -I -S upstreams.py stdio [SECONDS]` serves its standard streams after a start of so many seconds; with `never` it never answers.
With `busy=SECONDS` the start takes so much processor time, as the imports of a real server do.
`python -I -S upstreams.py stdio SECONDS COUNT BYTES` lists so many more tools, whose definitions have about so many bytes each.
Tools: `echo` returns its arguments, `sleep` answers after `seconds` without delaying other calls, `blob` returns `bytes` bytes.
"""

import json
import os
import select
import sys
import time
from functools import cache
from heapq import heappop, heappush
from typing import Any

NEVER = "never"
BUSY = "busy="

_tools: list[dict[str, Any]] = [
    {"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "sleep", "blob")
]
# Not `json.loads` and `json.dumps`, whose overhead exceeds the work itself.
_decode = json.JSONDecoder().decode
_encode = json.JSONEncoder().encode
_METHOD_NOT_FOUND = b'"error":{"code":-32601,"message":"Method not found"}'


def answer(message: dict[str, Any]) -> bytes | None:
    """The answer to one message; None for a notification."""
    if "id" not in message:
        return None
    method, params = message.get("method"), message.get("params") or {}
    if method == "tools/call":
        outcome = b'"result":' + _called(params["name"], params.get("arguments") or {})
    elif method == "tools/list":
        outcome = b'"result":' + json.dumps({"tools": _tools}).encode()
    elif method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bench", "version": "1"},
        }
        outcome = b'"result":' + json.dumps(result).encode()
    else:
        outcome = _METHOD_NOT_FOUND
    return b'{"jsonrpc":"2.0","id":%b,%b}' % (_encode(message["id"]).encode(), outcome)


def _called(tool: str, arguments: dict[str, Any]) -> bytes:
    if tool == "blob":
        return _blob(arguments["bytes"])
    text = "slept" if tool == "sleep" else _encode(arguments)
    return b'{"content":[{"type":"text","text":%b}]}' % _encode(text).encode()


@cache
def _blob(size: int) -> bytes:
    return b'{"content":[{"type":"text","text":"%b"}]}' % (b"x" * size)


def offer_more(count: int, size: int) -> None:
    """List so many more tools, whose definitions have about so many bytes each."""
    for number in range(count):
        text = f"Tool number {number} of many. ".ljust(size, "x")
        _tools.append({"name": f"tool{number}", "description": text, "inputSchema": {"type": "object"}})


def pause_of(message: dict[str, Any]) -> float:
    """Seconds until the answer."""
    if message.get("method") != "tools/call" or message["params"]["name"] != "sleep":
        return 0.0
    return float(message["params"]["arguments"]["seconds"])


def serve_stdio(start: str) -> None:
    """Serve until stdin ends."""
    if start == NEVER:
        while os.read(0, 1 << 16):
            pass
        return
    if start.startswith(BUSY):
        while time.process_time() < float(start.removeprefix(BUSY)):
            pass
    else:
        time.sleep(float(start))
    rest = b""
    sleeping: list[tuple[float, int, bytes]] = []
    count = 0
    while True:
        timeout = max(0.0, sleeping[0][0] - time.monotonic()) if sleeping else None
        ready: list[bytes] = []
        if select.select([0], [], [], timeout)[0]:
            chunk = os.read(0, 1 << 20)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                message = _decode(line.decode())
                found, pause = answer(message), pause_of(message)
                if found is not None and pause:
                    count += 1
                    heappush(sleeping, (time.monotonic() + pause, count, found))
                elif found is not None:
                    ready.append(found)
        while sleeping and sleeping[0][0] <= time.monotonic():
            ready.append(heappop(sleeping)[2])
        if ready:
            _write(b"\n".join(ready) + b"\n")


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def serve_http() -> None:
    """Serve until stdin ends: HTTP/1.1 with keep-alive and Content-Length, which is all that proxies need."""
    # Imported here, because the benchmark measures the start of a child process.
    import asyncio

    reasons = {200: b"OK", 202: b"Accepted", 405: b"Method Not Allowed"}

    class Http(asyncio.Protocol):
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
                elif (found := answer(json.loads(body))) is None:
                    self._reply(202, b"")
                else:
                    self._reply(200, found)

        def _reply(self, status: int, body: bytes) -> None:
            self._transport.write(
                b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, reasons[status], len(body), body)
            )

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Http, "127.0.0.1", 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)

    asyncio.run(serve())


if __name__ == "__main__":
    if sys.argv[1] == "http":
        serve_http()
    else:
        if len(sys.argv) > 3:
            offer_more(int(sys.argv[3]), int(sys.argv[4]))
        serve_stdio(sys.argv[2] if len(sys.argv) > 2 else "0")
