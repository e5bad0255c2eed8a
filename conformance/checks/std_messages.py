"""STD: the messages between proxy and stdio upstreams: framing, correlation, timeouts, losses.

The checks measure time in the upstream's journal and judge only upper bounds, so that a slow machine does not
decide. Where the upstream gives no answer, the client's answer comes from the proxy. FRONT judges the form of
the proxy's errors.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check, std_answers
from conformance.checks.common import must_be_echoed, must_work_again
from conformance.errors import Untestable, Violation
from conformance.workbench.transcript import part
from mock_servers.script import (
    Rule,
    Script,
    any_arguments,
    close_stdout,
    crash,
    hold,
    on_call,
    release,
    reply,
    silence,
    sleep,
    tool,
)

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal import Entry
    from mock_servers.journal_views import Request


@check("STD-011")
async def every_message_to_the_child_is_one_line_of_utf_8(workbench: Workbench) -> None:
    arguments = {"text": "one\ntwo\r\nthree\u2028four\u2029five\x85six", "emoji": "\U0001f9ea", "ä\n": "ö"}
    echo = tool("echo", properties=any_arguments(*arguments))
    upstream = workbench.stdio("a", Script(tools=[echo]))
    try:
        async with workbench.serving(upstream) as proxy:
            await must_be_echoed(workbench, proxy, "a", arguments)
    finally:
        # The lines count also when the call fails, since a bad line may be the reason.
        for entry in workbench.some(upstream.events("line"), "a message to the child"):
            is_message = entry.message is not None and entry.message.get("jsonrpc") == "2.0"
            workbench.expect(
                is_message, "each line is one JSON-RPC message in UTF-8", entry.text or entry.data
            )
    params = upstream.first_call.params
    workbench.expect(part(params, "arguments") == arguments, f"the arguments {arguments}", params)


@check("STD-012", slow=True)
async def answers_are_matched_by_id(workbench: Workbench) -> None:
    """A proxy that sends one call after the other passes, with a note."""
    delays = [1.0, 0.75, 0.5, 0.25]
    script = Script(**std_answers.reads_out_of_order())
    script.on += [on_call("echo", sleep(delay), nth=n) for n, delay in enumerate(delays, start=1)]
    upstream = workbench.stdio("a", script)
    async with workbench.serving(upstream) as proxy:
        numbers = range(len(delays) + 1)
        calls = [partial(must_be_echoed, workbench, proxy, "a", {"number": n}) for n in numbers]
        await workbench.run_cases(*calls, *await std_answers.steps_of_reads(workbench, proxy, "a"))
        asked = [call.id for call in upstream.requests("tools/call")]
        sent = [entry.message.get("id") for entry in upstream.events("sent") if entry.message]
        if [id_ for id_ in sent if id_ in asked] == asked:
            workbench.note(
                "the calls reached the upstream one after the other, so no answer was out of order"
            )


@check("STD-015", slow=True, timeout=60)
async def a_late_answer_is_discarded(workbench: Workbench) -> None:
    """The second call lets the upstream answer the first one, and waits for its own answer meanwhile.

    Where the calls reach different processes, the first one answers by itself, and the later calls alone are judged.
    """
    here, out = "the second call is here", "the first answer is out"
    rules = [
        on_call("echo", hold(here, most=3.0), reply(), release(out), params={"arguments": {"number": 1}}),
        on_call("echo", release(here), hold(out, most=0.4), sleep(0.2), params={"arguments": {"number": 2}}),
    ]
    upstream = workbench.stdio("a", Script(on=rules), timeout={"tools": "1s"})
    script = std_answers.late_on_its_stream()
    streaming = [await workbench.sse("b", script, timeout={"tools": "1s"})] if workbench.has("SSE") else []
    async with workbench.proxy(upstream, *streaming) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        await proxy.call("a", "echo", {"number": 1})
        first = upstream.first_call
        workbench.expect(
            not _answers(upstream, first), "the first call is over before its answer", upstream.entries
        )
        await must_be_echoed(workbench, proxy, "a", {"number": 2})
        with workbench.precondition("the late answer comes while the second call waits"):
            second = workbench.at(_calls_with(upstream, 2), 0, "a second call")
            if second.pid == first.pid:
                late = workbench.one(_answers(upstream, first), "one answer to the first call in the journal")
                mine = workbench.one(_answers(upstream, second), "one answer to the second call")
                workbench.expect(
                    second.t < late.t < mine.t, "an answer between the second call and its own", late
                )
        if second.pid != first.pid:
            await _must_have_answered_or_ended(workbench, upstream, first)
        await workbench.run_cases(
            *(partial(must_be_echoed, workbench, proxy, "a", {"number": n}) for n in range(3, 8))
        )
        for remote in streaming:
            await std_answers.must_match_on_its_stream(workbench, proxy, remote)


async def _must_have_answered_or_ended(
    workbench: Workbench, upstream: StdioMockUpstream, call: Request
) -> None:
    with workbench.precondition("the process of the first call answers late, or ends"):
        await workbench.eventually(
            lambda: _answers(upstream, call) or call.pid not in upstream.alive,
            within=6.0,
            what="an answer, or the end of the process",
        )
    late = "answered late" if _answers(upstream, call) else "ended without an answer"
    workbench.note(f"the calls reached different processes, and that of the first {late}")


def _calls_with(upstream: StdioMockUpstream, number: int) -> list[Request]:
    calls = upstream.requests("tools/call")
    return [call for call in calls if part(call.params, "arguments", "number") == number]


def _answers(upstream: StdioMockUpstream, call: Request) -> list[Entry]:
    sent = [entry for entry in upstream.events("sent") if entry.pid == call.pid]
    return [entry for entry in sent if (entry.message or {}).get("id") == call.id]


@check("STD-016")
async def the_death_of_a_child_ends_its_calls_promptly(workbench: Workbench) -> None:
    ends = {"exits": crash(1), "closes": close_stdout()}
    dying = [workbench.stdio(name, Script(on=[on_call("echo", end)])) for name, end in ends.items()]
    healthy = workbench.stdio("healthy")
    async with workbench.serving(*dying, healthy) as proxy:
        await workbench.run_cases(
            *(partial(_must_end_soon, workbench, proxy, upstream) for upstream in dying)
        )
        await must_be_echoed(workbench, proxy, "healthy", {"x": 1})


async def _must_end_soon(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    with workbench.case(f"a child that {upstream.name}"):
        answer = await proxy.call(upstream.name, "echo", within=5.0)
        workbench.expect(answer.is_error, "an error for a call that no server answers", answer.raw)
    took = answer.t - upstream.first_call.t
    what = f"the call on a child that {upstream.name} is over within 5 s"
    workbench.expect(took <= 5.0, what, f"after {took:.1f} s: {answer.raw}")


@check("STD-017", slow=True, timeout=90)
async def a_dead_stdio_upstream_is_started_again(workbench: Workbench) -> None:
    """One child dies at its start, another one after its first tools/list."""
    mortal = workbench.stdio("mortal")
    # A shell instead of a mock: on a slow machine a mock starts so slowly that even a tight loop has pauses.
    marks = workbench.sandbox.tmp / "starts"
    shell = {"command": "/bin/sh", "args": ["-c", 'echo >> "$0"; exit 1', str(marks)]}
    at_once = workbench.stdio("at-once").with_entry({"description": "Ends at once", **shell})
    when_ready = workbench.stdio("when-ready", Script(on=[Rule("tools/list", [reply(), crash(1)])]))
    began = time.monotonic()
    async with workbench.proxy(mortal, at_once, when_ready) as proxy:
        await proxy.handshake()
        await proxy.ready(mortal)
        with suppress(Untestable):  # any answer will do: the request wakes a lazy proxy
            await proxy.tools_of(at_once.name)
            await proxy.tools_of(when_ready.name)
        os.kill(mortal.starts[-1].pid, signal.SIGKILL)
        if workbench.promises("eager-restart"):
            await workbench.eventually(lambda: len(mortal.starts) > 1, within=60.0, what="a second start")
        await must_work_again(workbench, proxy, mortal)

        def must_not_loop() -> None:
            # A child that ends on the era probe starts twice in one attempt (STD-022).
            marked = len(marks.read_bytes()) if marks.exists() else 0
            for upstream, starts, each in ((at_once, marked, 2), (when_ready, len(when_ready.starts), 1)):
                seconds = time.monotonic() - began
                seen = f"{starts} starts of {upstream.name} in {seconds:.1f} s"
                workbench.expect(starts <= each * (seconds + 1), "at most one attempt per second", seen)

        await workbench.holds_for(began + 5.0 - time.monotonic(), must_not_loop)
    with workbench.precondition("the child that always dies has started"):
        workbench.expect(marks.exists(), "a mark of its start", "none")


@check("STD-018", timeout=40, slow=True)
async def large_lines_pass_intact(workbench: Workbench) -> None:
    # An HTTP server may refuse a large body with 413 (RFC 9110, section 15.5.14).
    size = 1 if workbench.sut.profile.client.listens else 5
    argument, answer = _mebibytes(size, "argument"), _mebibytes(5, "réponse")
    content = {"content": [{"type": "text", "text": answer}]}
    upstream = workbench.stdio("a", Script(on=[on_call("echo", reply(content))]))
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"text": argument}, within=15.0)
        workbench.expect(not result.is_error, "the call succeeds", result.raw[:1000])
        arrived = part(upstream.first_call.params, "arguments", "text") or ""
        for what, sent, received in (("argument", argument, arrived), ("result", answer, result.text)):
            expected, seen = (f"{_digest(text)}, {len(text)} characters" for text in (sent, received))
            workbench.expect(seen == expected, f"the {what} has the digest {expected}", seen)


def _mebibytes(count: int, word: str) -> str:
    """Text of at least this size in which no part repeats."""
    line = len(f"{word} 00000000\n".encode())
    return "".join(f"{word} {number:08}\n" for number in range((count << 20) // line + 1))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@check("STD-021", slow=True, timeout=60)
async def a_timed_out_call_is_cancelled_at_the_upstream(workbench: Workbench) -> None:
    hanging = workbench.stdio("hanging", Script(on=[on_call("echo", silence())]), timeout={"tools": "1s"})
    mute = workbench.stdio("mute", Script(on=[Rule("initialize", [silence()])]))
    async with workbench.proxy(hanging, mute) as proxy:
        await proxy.handshake()
        await proxy.ready(hanging)
        for _ in range(5):
            await proxy.request("tools/list", {})  # makes the ids of client and upstream differ
        await workbench.run_cases(
            partial(_must_be_cancelled, workbench, proxy, hanging),
            partial(_wait_until_abandoned, workbench, proxy, mute),
        )
    initialize = [(request.pid, request.id) for request in mute.requests("initialize")]
    cancelled = [(note.pid, _named_by(note)) for note in mute.requests("notifications/cancelled")]
    wrong = [named for named in cancelled if named in initialize]
    workbench.expect(not wrong, "initialize is never cancelled", wrong)


async def _must_be_cancelled(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    await proxy.call(upstream.name, "echo")
    cancelled = await workbench.eventually(
        lambda: upstream.requests("notifications/cancelled"),
        within=3.0,
        what="notifications/cancelled reaches the upstream",
    )
    named, call = _named_by(cancelled[0]), upstream.first_call
    workbench.expect(named == call.id and type(named) is type(call.id), f"requestId {call.id!r}", named)
    took = cancelled[0].t - call.t
    workbench.expect(
        took <= 2.5, "it comes within 1 s after the timeout of 1 s", f"{took:.2f} s after the call"
    )


def _named_by(cancellation: Request) -> Any:
    return cancellation.params.get("requestId") if isinstance(cancellation.params, dict) else None


async def _wait_until_abandoned(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Wait until the proxy gives up its first initialize. A proxy that never does has cancelled nothing."""
    with suppress(Untestable):
        await proxy.tools_of(upstream.name)  # wakes a lazy proxy
    await upstream.started()
    with suppress(Violation):
        await workbench.eventually(
            lambda: upstream.events("eof") or len(upstream.starts) > 1 or not upstream.alive,
            within=17.0,
            what="the proxy gives up initialize",
        )
