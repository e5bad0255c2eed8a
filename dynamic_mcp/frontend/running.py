"""The calls of the client in flight. Each runs in its own task, and ends with exactly one answer, or without one if cancelled.

``notifications/cancelled`` of the client ends its request without an answer (MCP 2025-11-25, basic/utilities/cancellation).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from msgspec import Raw

from dynamic_mcp.errors import UpstreamError, UpstreamFailed, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.frontend import bridge
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.exchange import Handler
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.tools import explain_failure, failure
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.log import log, report_bug
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.ids import id_key
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, Refusal
from dynamic_mcp.protocol.large import SLOW_COPY, beside_the_loop

#: Seconds for the calls in flight once the client has closed its end of stdin. The official SDKs wait 2 s and then send SIGTERM.
LAST_ANSWERS = 1.5
#: The same for calls that came at most ``JUST_ASKED`` seconds before the end of input, if no call has ended before. A shell pipes its
#: requests like this, and sends no SIGTERM; the server may not even be started then.
LAST_PIPED_ANSWERS, JUST_ASKED = 5.0, 0.3

NO_TIME = "no answer came before the proxy had to end"


class RunningCalls:
    """Starts, answers and cancels calls by their ids."""

    def __init__(
        self,
        relay: Relay,
        hooks: Hooks,
        max_message: Callable[[Group], int | None] = lambda group: None,
    ) -> None:
        """``max_message`` gives the largest message about a group to the client, in bytes; None for any size."""
        self._relay = relay
        self._hooks = hooks
        self._max_message = max_message
        # To ask for the loop takes a system call each time.
        self._loop = asyncio.get_running_loop()
        self._running: dict[object, tuple[asyncio.Task[None], Call]] = {}
        self._has_answered = False

    def start(self, incoming: Incoming, handler: Handler) -> None:
        """Answer the request with the result of the handler. Raises Refusal for an id in use."""
        key = id_key(incoming.id)
        if key in self._running:
            raise Refusal(INVALID_REQUEST, "a request with this id is still being answered")
        call = Call(incoming, self._relay)
        context = None if incoming.span is None else incoming.span.context
        # This table owns the task. A set of tasks (``tasks``) or a task group would cost each call more.
        task = self._loop.create_task(self._run(call, handler, key), context=context)
        self._running[key] = task, call

    def has(self, id: bytes) -> bool:
        """Whether the call with this id is in flight."""
        return id_key(id) in self._running

    def cancel(self, id: Raw) -> None:
        """Cancel the call with this id, if it is in flight."""
        if (key := id_key(id)) in self._running:
            self._cancel(key)

    async def finish(self, gone: Coroutine[Any, Any, None]) -> None:
        """Wait for the calls in flight, for a few seconds at most, and no longer than ``gone``. The others get an error."""
        now = time.monotonic()
        leaving = asyncio.ensure_future(gone)
        older = [
            key
            for key, (_, call) in self._running.items()
            if self._has_answered or now - call.received > JUST_ASKED
        ]
        for seconds, keys in ((LAST_ANSWERS, older), (LAST_PIPED_ANSWERS, list(self._running))):
            if tasks := [self._running[key][0] for key in keys if key in self._running]:
                # The end of this wait does not cancel the calls.
                answered = asyncio.ensure_future(asyncio.wait(tasks))
                left = max(now + seconds - time.monotonic(), 0.0)
                await asyncio.wait([answered, leaving], timeout=left, return_when=asyncio.FIRST_COMPLETED)
                answered.cancel()
                for key in keys:
                    self._end(key)
                await asyncio.gather(*tasks, return_exceptions=True)
        leaving.cancel()

    def _end(self, key: object) -> None:
        """Let a call end with an error, unless the client has cancelled it."""
        task, call = self._running.get(key, (None, None))
        if task is not None and call is not None and not task.cancelling():
            call.is_given_up = True
            task.cancel()

    async def close(self) -> None:
        """Cancel all calls, also at the upstreams."""
        tasks = [task for task, _ in self._running.values()]
        for key in list(self._running):
            self._cancel(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, key: object) -> None:
        task, call = self._running[key]
        task.cancel()
        if not call.has_begun:
            # A task that is cancelled before its first step cannot clean up.
            del self._running[key]
            call.incoming.abandon()

    async def _run(self, call: Call, handler: Handler, key: object) -> None:
        call.has_begun = True
        self._relay.add_call(call)
        try:
            line = self._fitting(call, await self._answer_line(call, handler))
            if call.progress is not None:
                call.progress.end()
                await call.progress.keep_distance()
        except asyncio.CancelledError:
            if call.progress is not None:
                call.progress.drop()
            if not call.is_given_up:
                call.incoming.abandon()
                raise
            line = _failure_line(call.incoming, UpstreamFailed(NO_TIME))
        finally:
            # Before the answer goes out, because then the client may use the id again.
            del self._running[key]
            self._relay.remove_call(call)
        self._has_answered = True
        call.incoming.answer(line)

    def _fitting(self, call: Call, line: bytes) -> bytes:
        """The line, or an error in its place if the client does not take a message of this size."""
        group = call.group or call.awaited
        limit = None if group is None else self._max_message(group)
        if group is None or limit is None or len(line) <= limit:
            return line
        return _too_large_line(call, group, len(line), limit)

    async def _answer_line(self, call: Call, handler: Handler) -> bytes:
        incoming = call.incoming
        try:
            result = await handler(call)
            if len(result) < SLOW_COPY:
                return result_line(incoming, result)
            return await beside_the_loop(len(result), partial(result_line, incoming, result))
        except Refusal as refusal:
            if not call.is_watched:
                self._hooks.record("refused", outcome="refused", method=incoming.method, code=refusal.code)
            return error_line(incoming, refusal.error)
        except UpstreamRefused as refusal:
            return error_line(incoming, refusal.error)
        except UpstreamError as error:
            if isinstance(error, UpstreamTimeout) and call.clock.spent:
                error = UpstreamTimeout(
                    f"{error}, after {call.clock.spent:.1f} s for what the request needed first"
                )
            return _failure_line(incoming, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Only other work was cancelled: the client still waits for the answer.
            report_bug(f"the request {incoming.method}", error)
            return _failure_line(incoming, UpstreamFailed("the proxy ended what the request waited for"))
        except Exception as error:
            report_bug(f"the request {incoming.method}", error)
            text = "Internal error of the proxy; see its stderr"
            return error_line(incoming, jsonrpc.error_object(INTERNAL_ERROR, text))


def result_line(incoming: Incoming, result: bytes) -> bytes:
    """The line of a result, in the form of the client's era."""
    translated = bridge.modern_result(incoming.method, result) if incoming.modern else result
    return jsonrpc.result(incoming.id, translated)


def error_line(incoming: Incoming, error: bytes) -> bytes:
    """The line of an error object, in the form of the client's era."""
    return jsonrpc.error(incoming.id, bridge.modern_error(error) if incoming.modern else error)


def _too_large_line(call: Call, group: Group, size: int, limit: int) -> bytes:
    """The error in place of an answer of ``size`` bytes about a group."""
    reason = (
        f"the answer has {size:,} bytes, and a message to this client at most {limit:,} (max_answer_size)"
    )
    log.warning("group %s, %s: %s", group.name, call.incoming.method, reason)
    text = f"Group {group.name!r}: {reason}. Ask for less, for example for a part."
    if call.incoming.method != "tools/call":
        return error_line(call.incoming, jsonrpc.error_object(INTERNAL_ERROR, text))
    ran = " The tool has run." if call.group else ""
    return result_line(call.incoming, failure(f"{text}{ran}"))


def _failure_line(incoming: Incoming, error: UpstreamError) -> bytes:
    """The answer to a request that the upstream did not answer."""
    if incoming.method == "tools/call":
        return result_line(incoming, explain_failure(error))
    return error_line(incoming, jsonrpc.error_object(INTERNAL_ERROR, _describe_error(error)))


def _describe_error(error: UpstreamError) -> str:
    if not isinstance(error, UpstreamFailed):
        return f"The upstream server failed: {error}"
    lines = [f"The upstream server failed: {error}", error.remedy]
    lines += ["Its last output:", error.last_output] if error.last_output else []
    return "\n".join(filter(None, lines))
