"""The first answer of a program that has no profile yet: a long wait, which ends as soon as no answer can come.

A program can take a minute to install itself. A refusal, an answer under another id, and output that is no message end the wait, and the
error quotes them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import anyio

from conformance.errors import ConformanceError, ImplementationCrashed, Untestable, Violation
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.model.sut import Sut
    from conformance.workbench.inbox import Answer
    from conformance.workbench.proxy import Proxy

#: seconds for an answer after output that is no message, and between two reports about the wait
AFTER_NOISE, REPORT = 10.0, 10.0
#: seconds for a line
_ONE_LINE = 1.0
_POLL = 0.1
_RULE = "MCP on stdio allows only JSON-RPC messages there, one a line; write everything else to stderr"


async def greeting_of(proxy: Proxy, within: float, tell: Callable[[str], None]) -> Answer:
    """The answer to `initialize`. Reports the wait with `tell`. Raises `Untestable` with what came instead."""
    reason = ""
    problem: ConformanceError | None = None
    answer: Answer | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:

            async def watch() -> None:
                nonlocal reason
                reason = await _until_hopeless(proxy, within, tell)
                scope.cancel()

            tasks.start_soon(watch)
            try:
                answer = await proxy.handshake(within=within)
            except ConformanceError as raised:
                problem = raised
        tasks.cancel_scope.cancel()
    if problem is not None:
        explained = _explained(problem, proxy)
        raise explained from (problem if explained is not problem else problem.__cause__)
    if answer is None:
        raise Untestable(reason)
    return answer


async def _until_hopeless(proxy: Proxy, within: float, tell: Callable[[str], None]) -> str:
    """Why no answer can come."""
    began = reported = time.monotonic()
    noisy_since = 0.0
    is_told = False
    while True:
        await anyio.sleep(_POLL)
        now = time.monotonic()
        if stray := _stray_answer(proxy):
            return f"the answer to initialize needs the id of the request, and it answered {stray}"
        noise = noise_on_stdout(proxy)
        noisy_since = (noisy_since or now) if noise else 0.0
        # A message can be on its way, and its line has no end yet.
        if noise and now - noisy_since > _ONE_LINE and not is_told:
            is_told = True
            tell(f"stdout has {noise}, which is no message; {AFTER_NOISE:g} s for an answer")
        if noise and now - noisy_since > AFTER_NOISE:
            return f"no answer to initialize, and stdout has {noise}, which is no message. {_RULE}"
        if now - reported > REPORT:
            reported = now
            tell(f"no answer after {now - began:.0f} s, of at most {within:g} s")


def _stray_answer(proxy: Proxy) -> str:
    """An answer that belongs to no request, such as an error with the id null; empty without one."""
    for message in proxy.received:
        if "method" not in message and {"result", "error"} & message.keys():
            return shorten(json.dumps(message, ensure_ascii=False))
    return ""


def noise_on_stdout(proxy: Proxy) -> str:
    """What stdout has that is no message of a server; empty without it, and for a program that listens."""
    if proxy.port is not None:
        return ""  # stdout is for people
    if proxy.junk:
        return repr(proxy.junk[0])
    for message in proxy.received:
        if "jsonrpc" not in message or message.get("method") == "initialize":
            return shorten(json.dumps(message, ensure_ascii=False))
    rest = proxy.stdout.rpartition(b"\n")[2].decode(errors="replace")
    return f"{shorten(rest, 200)!r} without a line end" if rest else ""


def _explained(problem: ConformanceError, proxy: Proxy) -> ConformanceError:
    """The error without the time of a wait that has not taken place, and with what stdout had."""
    cause = problem.__cause__
    if isinstance(cause, ImplementationCrashed):
        noise = noise_on_stdout(proxy)
        return (
            Untestable(f"{problem}; stdout has {noise}, which is no message. {_RULE}") if noise else problem
        )
    if isinstance(problem, Untestable) and isinstance(cause, Violation) and not cause.timed:
        return Untestable(f"it refuses the client: {cause.seen}")
    return problem


def advice(sut: Sut) -> str:
    """What the user can do about a command that does not work, by the way in which it gets its servers and its client."""
    client = sut.profile.client
    first = "Try it with `smoke`, with the same command."
    if client.listens:
        first = f"Look at the path of its URL ({client.url}) and at its transport ({client.transport})."
    return first if sut.profile.single is not None else f"{first} {_BY_HAND}"


_BY_HAND = (
    "If its configuration file has another form than mcpServers, or its entries need more members, "
    "describe that in a file with the tables [config] and [entries], and add --draft FILE."
)
