"""A filter around the unchanged reference, for mistakes in the messages with its client and with its stdio upstreams.

The filter puts a pipe and a thread into each direction of a connection. It needs two public names of the reference:
``take_over_stdio`` for the client, and ``stdin`` and ``stdout`` of ``Child`` for an upstream. A mutant passes a change to a
direction::

    wire.to_client(results_of("initialize", lambda result: {**result, "protocolVersion": "2024-11-05"}))

Lines that no change touches pass byte for byte, the order stays, and the end of a stream passes.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import IO, Any

import msgspec

from conformance.mutants import replace
from dynamic_mcp.frontend.client import take_over_stdio
from dynamic_mcp.process.child import Child

Message = dict[str, Any]
#: What becomes of a message: the same object (it passes byte for byte), another one, bytes with their line end, several, or None.
Changed = Message | bytes | list[Message | bytes] | None
Change = Callable[[Message, "Way"], Changed]
LineChange = Callable[[bytes, "Way"], bytes | None]

# JSON-RPC 2.0, section 5.1, and MCP 2026-07-28
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, UNSUPPORTED_VERSION = -32603, -32022
LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"

#: Seconds that the last lines for the client may take when the proxy ends.
_FLUSH_TIME = 2.0

#: Held while a change runs, so that changes can share variables; notified for each message that passed.
_changing = threading.Condition()


class HangUp(Exception):
    """Raised by a change: the direction ends here, as if its sender had closed it."""


class Way:
    """One direction of one connection. ``back`` is the other direction of the same connection."""

    back: Way

    def __init__(self, direction: Direction, sink: IO[bytes]) -> None:
        #: the requests that went this way and have no answer yet, oldest first, by the JSON of their ids
        self.asked: dict[bytes, Message] = {}
        self._direction = direction
        self._sink = sink
        self._writing = threading.Lock()
        self._is_received = True

    @property
    def oldest(self) -> Any:
        """The id of the oldest request that went this way and has no answer yet; None without one."""
        return next(iter(self.asked.values()), {}).get("id")

    def method_of(self, message: Message) -> str | None:
        """The method of a message on this way; for an answer it is the method of its request."""
        return message.get("method") or self.request_of(message).get("method")

    def request_of(self, answer: Message) -> Message:
        """The request that an answer on this way belongs to; empty for an unknown one."""
        return self.back.asked.get(msgspec.json.encode(answer.get("id")), {})

    def send(self, *messages: Message | bytes) -> None:
        """Write messages to the receiver of this way. If the receiver is gone, the messages are lost."""
        with _changing:
            for message in messages:
                if isinstance(message, dict):
                    self._note(message)
            _changing.notify_all()
        lines = [one if isinstance(one, bytes) else msgspec.json.encode(one) + b"\n" for one in messages]
        with self._writing:
            try:
                for line in lines:
                    rest = memoryview(line)
                    while rest:
                        rest = rest[self._sink.write(rest) :]
            except (OSError, ValueError):
                self._is_received = False

    def pump(self, source: IO[bytes]) -> None:
        """Pass the lines of ``source`` on until it ends or the receiver is gone, then end this way at both ends."""
        with source, self._sink, suppress(OSError, HangUp):
            for line in source:
                self._take(line)
                if not self._is_received:
                    return
            self._direction.at_end()

    def changed(self, line: bytes) -> list[Message | bytes]:
        """What the changes of this direction make of a line, which counts as passed."""
        with _changing:
            passed = self._direction.changed(line, self)
            for one in passed:
                message = decoded(one) if isinstance(one, bytes) else one
                if message is not None:
                    self._note(message)
        return passed

    def _take(self, line: bytes) -> None:
        passed = self.changed(line)
        self.send(*(one if isinstance(one, bytes) else msgspec.json.encode(one) + b"\n" for one in passed))

    def _note(self, message: Message) -> None:
        id = msgspec.json.encode(message.get("id"))
        if "method" not in message:
            self.back.asked.pop(id, None)
        elif "id" in message:
            self.asked[id] = message
        elif message["method"] == "notifications/cancelled":
            self.asked.pop(msgspec.json.encode((message.get("params") or {}).get("requestId")), None)


class Direction:
    """One direction of all connections of a kind. A mutant calls it with a change for each message."""

    def __init__(self, install: Callable[[], None]) -> None:
        self.ways: list[Way] = []
        #: called when the sender of a connection closed it, before that passes
        self.at_end: Callable[[], object] = lambda: None
        self._install = install
        self.changes: list[Callable[[bytes, Way], list[Message | bytes]]] = []

    def __call__(self, *changes: Change) -> None:
        """Let each change alter, drop or add messages. Lines that are not a JSON object pass."""
        for change in changes:
            self._add(partial(_change_line, change))

    def lines(self, change: LineChange) -> None:
        """The same for lines of any kind, as bytes with the line end; None drops one."""

        def changed(line: bytes, way: Way) -> list[Message | bytes]:
            other = change(line, way)
            return [] if other is None else [other]

        self._add(changed)

    def watch(self) -> Direction:
        """Install the filter without a change, for a mutant that uses what the direction knows."""
        self._install()
        return self

    def send(self, *messages: Message | bytes) -> None:
        """Write messages on every connection of this direction."""
        for way in self.ways:
            way.send(*messages)

    def opened(self, sink: IO[bytes]) -> Way:
        """A new connection, which writes to ``sink``."""
        self.ways.append(Way(self, sink))
        return self.ways[-1]

    def changed(self, line: bytes, way: Way) -> list[Message | bytes]:
        """What the changes make of a line."""
        passed: list[Message | bytes] = [line]
        for change in self.changes:
            passed = [
                new
                for one in passed
                for new in change(one if isinstance(one, bytes) else msgspec.json.encode(one) + b"\n", way)
            ]
        return passed

    def _add(self, change: Callable[[bytes, Way], list[Message | bytes]]) -> None:
        self._install()
        self.changes.append(change)


def decoded(line: bytes) -> Message | None:
    """The message of a line; None where the line is not a JSON object. Numbers that Python would round are ``Raw``."""
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        message: Message = json.loads(line, parse_float=_raw, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return message


def is_modern(request: Message) -> bool:
    """Whether a request is of MCP 2026-07-28, where each one carries its version."""
    params = request.get("params")
    return isinstance(params, dict) and VERSION_KEY in (params.get("_meta") or {})


def _raw(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def _integer(number: str) -> int | msgspec.Raw:
    return int(number) if len(number) < 19 else _raw(number)


def _change_line(change: Change, line: bytes, way: Way) -> list[Message | bytes]:
    message = decoded(line)
    if message is None:
        return [line]
    changed = change(message, way)
    several = changed if isinstance(changed, list) else [] if changed is None else [changed]
    return [line if one is message else one for one in several]


# Changes of one kind of message


def without(*methods: str) -> Change:
    """Drop requests and notifications of these methods."""
    return lambda message, way: None if message.get("method") in methods else message


def params_of(method: str, change: Callable[[Any], Any]) -> Change:
    """Change the params of requests and notifications of this method."""

    def changed(message: Message, way: Way) -> Changed:
        if message.get("method") != method:
            return message
        return {**message, "params": change(message.get("params", {}))}

    return changed


def results_of(method: str, change: Callable[[Any], Any]) -> Change:
    """Change the result of each answer to a request of this method."""

    def changed(message: Message, way: Way) -> Changed:
        if "result" not in message or way.method_of(message) != method:
            return message
        return {**message, "result": change(message["result"])}

    return changed


def errors(change: Callable[[Any], Any], *methods: str) -> Change:
    """Change the error of each answer, or only of answers to these methods."""

    def changed(message: Message, way: Way) -> Changed:
        if "error" not in message or (methods and way.method_of(message) not in methods):
            return message
        return {**message, "error": change(message["error"])}

    return changed


def codes(wrong: dict[int, int]) -> Change:
    """Replace codes of errors."""
    return errors(lambda error: {**error, "code": wrong.get(error["code"], error["code"])})


def answer(request: Message, **members: Any) -> Message:
    """The answer to a request: pass ``result`` or ``error``."""
    return {"jsonrpc": "2.0", "id": request["id"], **members}


def refusal(request: Message, code: int, text: str) -> Message:
    """The refusal of a request."""
    return answer(request, error={"code": code, "message": text})


# Time


def later(seconds: float, do: Callable[..., object], *arguments: Any) -> None:
    """Call ``do`` in some seconds, unless the proxy has ended by then."""
    timer = threading.Timer(seconds, do, arguments)
    timer.daemon = True
    timer.start()


def wait_until(condition: Callable[[], bool]) -> None:
    """Within a change: let its direction wait, while the other directions go on."""
    _changing.wait_for(condition)


# The connections


def _once(install: Callable[[], None]) -> Callable[[], None]:
    installed: list[bool] = []

    def install_once() -> None:
        if not installed:
            installed.append(True)
            install()

    return install_once


@_once
def _filter_client() -> None:
    def wrong() -> tuple[int, int]:
        source, sink = take_over_stdio()
        proxy_source, proxy_sink, writing = _connect(
            from_client, to_client, os.fdopen(source, "rb"), os.fdopen(sink, "wb", 0)
        )
        # The thread is a daemon, so that a client that does not read cannot keep the proxy from ending.
        atexit.register(writing.join, _FLUSH_TIME)
        return proxy_source, proxy_sink

    replace(take_over_stdio, wrong)


@_once
def _filter_children() -> None:
    right = Child.__init__

    def wrong(self: Child, *arguments: Any, **named: Any) -> None:
        right(self, *arguments, **named)
        assert self.stdin is not None
        assert self.stdout is not None
        with self.stdout as unbuffered:
            stdout = os.fdopen(os.dup(unbuffered.fileno()), "rb")
        source, sink, _ = _connect(from_stdio_upstreams, to_stdio_upstreams, stdout, self.stdin)
        self.stdin, self.stdout = os.fdopen(sink, "wb", 0), os.fdopen(source, "rb", 0)

    replace(right, wrong)


def _connect(
    into: Direction, out: Direction, peer_source: IO[bytes], peer_sink: IO[bytes]
) -> tuple[int, int, threading.Thread]:
    """Filter one connection: the descriptors for the proxy to read and to write, and the thread that writes to the peer."""
    proxy_source, into_proxy = os.pipe()
    out_of_proxy, proxy_sink = os.pipe()
    inward, outward = into.opened(os.fdopen(into_proxy, "wb", 0)), out.opened(peer_sink)
    inward.back, outward.back = outward, inward
    threads = [
        threading.Thread(target=way.pump, args=(source,), daemon=True)
        for way, source in ((inward, peer_source), (outward, os.fdopen(out_of_proxy, "rb")))
    ]
    for thread in threads:
        thread.start()
    return proxy_source, proxy_sink, threads[1]


from_client, to_client = Direction(_filter_client), Direction(_filter_client)
from_stdio_upstreams, to_stdio_upstreams = Direction(_filter_children), Direction(_filter_children)
