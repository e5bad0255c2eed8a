"""The calls of the client that are in flight: each runs in a task of its own and ends with exactly one answer, or with none when cancelled.

A client's ``notifications/cancelled`` ends the request that it names without an answer (MCP 2025-11-25, basic/utilities/cancellation).
"""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend import bridge
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.exchange import Handler
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.tools import explain_failure
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.log import report_bug
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, Refusal
from dynamic_mcp.tasks import TaskSet


class RunningCalls:
    """Starts, answers and cancels calls, by the ids that the client gave them."""

    def __init__(self, relay: Relay, hooks: Hooks) -> None:
        self._relay = relay
        self._hooks = hooks
        self._tasks = TaskSet()
        self._running: dict[object, tuple[asyncio.Task[None], Call]] = {}

    def start(self, incoming: Incoming, handler: Handler) -> None:
        """Answer the request with what the handler returns. Raises Refusal for an id that is in use."""
        key = id_key(incoming.id)
        if key in self._running:
            raise Refusal(INVALID_REQUEST, "a request with this id is still being answered")
        call = Call(incoming, self._relay.on_progress(incoming))
        context = None if incoming.span is None else incoming.span.context
        self._running[key] = self._tasks.start(self._run(call, handler, key), context), call

    def cancel(self, id: Raw) -> None:
        """End the call with this id, if it is in flight."""
        if (key := id_key(id)) in self._running:
            self._cancel(key)

    async def close(self) -> None:
        """Abandon everything; the upstreams get the cancellations."""
        for key in list(self._running):
            self._cancel(key)
        await self._tasks.close()

    def _cancel(self, key: object) -> None:
        task, call = self._running[key]
        task.cancel()
        if not call.has_begun:
            # Then it never begins, and cannot clean up.
            del self._running[key]
            call.incoming.abandon()

    async def _run(self, call: Call, handler: Handler, key: object) -> None:
        call.has_begun = True
        self._relay.started(call)
        try:
            line = await self._answer_line(call, handler)
        except asyncio.CancelledError:
            call.incoming.abandon()
            raise
        finally:
            # Before the answer goes out: with its arrival the id is free again.
            del self._running[key]
            self._relay.ended(call)
        call.incoming.answer(line)

    async def _answer_line(self, call: Call, handler: Handler) -> bytes:
        incoming = call.incoming
        try:
            return result_line(incoming, await handler(call))
        except Refusal as refusal:
            if not call.is_watched:
                self._hooks.record("refused", outcome="refused", method=incoming.method, code=refusal.code)
            return error_line(incoming, refusal.error)
        except UpstreamRefused as refusal:
            return error_line(incoming, refusal.error)
        except UpstreamError as error:
            if incoming.method == "tools/call":
                return result_line(incoming, explain_failure(error))
            return error_line(incoming, jsonrpc.error_object(INTERNAL_ERROR, _describe_error(error)))
        except Exception as error:
            report_bug(f"the request {incoming.method}", error)
            text = "Internal error of the proxy; its stderr says more"
            return error_line(incoming, jsonrpc.error_object(INTERNAL_ERROR, text))


def result_line(incoming: Incoming, result: bytes) -> bytes:
    """The line of a result, in the form of the client's era."""
    written = bridge.modern_result(incoming.method, result) if incoming.modern else result
    return jsonrpc.result(incoming.id, written)


def error_line(incoming: Incoming, error: bytes) -> bytes:
    """The line of an error object, in the form of the client's era."""
    return jsonrpc.error(incoming.id, bridge.modern_error(error) if incoming.modern else error)


def _describe_error(error: UpstreamError) -> str:
    tail = error.stderr_tail if isinstance(error, UpstreamFailed) else ""
    return f"The upstream server failed: {error}" + (f"\nWhat it said last:\n{tail}" if tail else "")


_decode_id = msgspec.json.Decoder(str | int | float).decode


def id_key(raw: bytes | Raw) -> object:
    """An id as a dictionary key: ``1`` and ``"1"`` differ, ``"\\u0061"`` and ``"a"`` are the same."""
    try:
        value = _decode_id(raw)
    except msgspec.DecodeError:
        # 1e400 is an id that no Python number holds; a cancellation may name any JSON value.
        return bytes(raw)
    return type(value), value
