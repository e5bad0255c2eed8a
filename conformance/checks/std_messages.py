"""STD: the messages between proxy and stdio upstreams: framing, correlation, handshake, timeouts, losses.

Time is measured in the upstream's journal, from what reached it or left it, and only upper bounds are
judged: a slow machine makes no proxy wrong. Where the upstream gives no answer, whatever the client gets is
the proxy's own; what form its errors have is the matter of FRONT.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.errors import Violation
from mock_servers.script import (
    Rule,
    Script,
    close_stdout,
    crash,
    error,
    notify,
    on_call,
    raw,
    reply,
    reply_in_chunks,
    request,
    send,
    silence,
    sleep,
    wrong_id_reply,
)

if TYPE_CHECKING:
    from conformance.workbench import Answer, Proxy, StdioUpstream, Workbench
    from mock_servers.journal import Entry

MODERN = "2026-07-28"
PROBE = "server/discover"
_META = "io.modelcontextprotocol/"


def is_echo(answer: Answer, arguments: dict[str, Any]) -> bool:
    """Whether this is what `echo` returns for these arguments."""
    try:
        return not answer.is_error and bool(json.loads(answer.text) == arguments)
    except ValueError:
        return False


async def is_echoed(bench: Workbench, proxy: Proxy, group: str, arguments: dict[str, Any]) -> None:
    """A call of `echo` with these arguments returns them."""
    answer = await proxy.call(group, "echo", arguments)
    bench.expect(is_echo(answer, arguments), f"the answer to the call with {arguments}", answer.raw)


@check("STD-011")
async def every_message_to_the_child_is_one_line_of_utf_8(bench: Workbench) -> None:
    """Whatever a call's arguments hold, each line that reaches the child is a JSON-RPC message by itself."""
    arguments = {"text": "one\ntwo\r\nthree\u2028four\u2029five\x85six", "emoji": "\U0001f9ea", "ä\n": "ö"}
    upstream = bench.stdio("a")
    try:
        async with bench.serving(upstream) as proxy:
            await is_echoed(bench, proxy, "a", arguments)
    finally:
        # Also when nothing was understood, which may be the consequence of exactly this.
        for entry in upstream.events("line"):
            is_message = entry.message is not None and entry.message.get("jsonrpc") == "2.0"
            bench.expect(is_message, "each line is one JSON-RPC message in UTF-8", entry.text or entry.data)
    passed_on = upstream.requests("tools/call")[-1].params["arguments"]
    bench.expect(passed_on == arguments, f"the arguments {arguments}", passed_on)


@check("STD-012")
async def answers_are_matched_by_id(bench: Workbench) -> None:
    """Of five calls at once, whose answers come back in the opposite order, each gets its own."""
    delays = [1.0, 0.75, 0.5, 0.25]
    script = Script(on=[on_call("echo", sleep(delay), nth=n) for n, delay in enumerate(delays, start=1)])
    upstream = bench.stdio("a", script)
    async with bench.serving(upstream) as proxy:
        numbers = range(len(delays) + 1)
        await bench.together(*(partial(is_echoed, bench, proxy, "a", {"number": n}) for n in numbers))
        asked = [call.id for call in upstream.requests("tools/call")]
        sent = [entry.message.get("id") for entry in upstream.events("sent") if entry.message]
        if [id_ for id_ in sent if id_ in asked] == asked:
            bench.note(
                "the calls reached the upstream one after the other, so no answer could be out of order"
            )


@check("STD-013")
async def a_noisy_or_fragmented_stdout_does_not_break_the_connection(bench: Workbench) -> None:
    """Behind text, blank lines, a notification and a stranger's answer, in three pieces, the answer is found."""
    # Of two cuts one byte apart at least one is inside a character when all characters have three bytes.
    text = "設定" * 200
    noise = [
        raw("plain text, as a debugging print leaves it\n"),
        raw("\n"),
        notify("notifications/message", {"level": "info", "data": "hello"}),
        wrong_id_reply("nobody-asked"),
        wrong_id_reply(987654),
    ]
    answer = reply_in_chunks([200, 1], pause=0.05, result={"content": [{"type": "text", "text": text}]})
    upstream = bench.stdio("a", Script(on=[on_call("echo", *noise, answer)]))
    async with bench.serving(upstream) as proxy:
        for number in (1, 2):
            result = await proxy.call("a", "echo", {"number": number}, within=5.0)
            bench.expect(not result.is_error and result.text == text, f"call {number} succeeds", result.raw)


@check("STD-014")
async def a_legacy_upstream_gets_the_full_handshake(bench: Workbench) -> None:
    """An upstream that refuses everything before notifications/initialized is told it, and becomes usable."""
    upstream = bench.stdio("a", Script(strict=True))
    async with bench.proxy(upstream) as proxy:
        await proxy.handshake()
        with bench.must("a strict legacy upstream becomes usable"):
            await proxy.ready(upstream)
        await is_echoed(bench, proxy, "a", {"x": 1})
    story = _messages_of(upstream, upstream.requests("tools/call")[-1].pid)
    asked = [message for event, message in story if event == "line"]
    greetings = [message for message in asked if message.get("method") == "initialize"]
    bench.expect(len(greetings) == 1 and asked[0] == greetings[0], "initialize, once, comes first", asked)
    params = greetings[0].get("params")
    bench.expect(_is_complete(params), "protocolVersion, capabilities and clientInfo", params)
    bench.expect(asked[1].get("method") == "notifications/initialized", "then initialized", asked[1])
    bench.expect("id" not in asked[1], "initialized is a notification: it has no id", asked[1])
    bench.expect(story[1][0] == "sent", "initialized follows the answer to initialize", story[:3])


def _messages_of(upstream: StdioUpstream, pid: int) -> list[tuple[str, dict[str, Any]]]:
    """What a process read ("line") and sent, in order, without the probe of its era and the answer to that."""
    entries = [entry for entry in upstream.entries if entry.pid == pid and entry.event in ("line", "sent")]
    messages = [(entry.event, entry.message or {}) for entry in entries]
    probes = [message.get("id") for _, message in messages if message.get("method") == PROBE]
    return [(event, message) for event, message in messages if message.get("id", "none") not in probes]


def _is_complete(params: Any) -> bool:
    match params:
        case {
            "protocolVersion": str(),
            "capabilities": dict(),
            "clientInfo": {"name": str(), "version": str()},
        }:
            return True
    return False


@check("STD-015")
async def a_late_answer_is_discarded(bench: Workbench) -> None:
    """The answer that comes a second after its call's timeout is nobody's: all later calls get their own."""
    upstream = bench.stdio("a", Script(on=[on_call("echo", sleep(2.0), nth=1)]), timeout={"tools": "1s"})
    async with bench.serving(upstream) as proxy:
        await proxy.call("a", "echo", {"number": 1})
        id_ = upstream.requests("tools/call")[0].id
        bench.expect(
            not _answers(upstream, id_), "the first call is over before its answer", upstream.entries
        )
        await is_echoed(bench, proxy, "a", {"number": 2})
        with bench.witness("the late answer is sent"):
            what = "an answer to the first call in the upstream's journal"
            await bench.eventually(lambda: _answers(upstream, id_), within=5.0, what=what)
        await is_echoed(bench, proxy, "a", {"number": 3})
        await bench.together(*(partial(is_echoed, bench, proxy, "a", {"number": n}) for n in range(4, 8)))


def _answers(upstream: StdioUpstream, id_: Any) -> list[Entry]:
    return [entry for entry in upstream.events("sent") if (entry.message or {}).get("id") == id_]


@check("STD-016")
async def the_death_of_a_child_ends_its_calls_promptly(bench: Workbench) -> None:
    """A call on a child that exits, or closes its stdout, is over within 5 s, and other groups work on."""
    ends = {"exits": crash(1), "closes": close_stdout()}
    dying = [bench.stdio(name, Script(on=[on_call("echo", end)])) for name, end in ends.items()]
    healthy = bench.stdio("healthy")
    async with bench.serving(*dying, healthy) as proxy:
        await bench.together(*(partial(_ends_soon, bench, proxy, upstream) for upstream in dying))
        await is_echoed(bench, proxy, "healthy", {"x": 1})


async def _ends_soon(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    with bench.case(f"a child that {upstream.name}"):
        answer = await proxy.call(upstream.name, "echo", within=10.0)
    took = answer.t - upstream.requests("tools/call")[0].t
    what = f"the call on a child that {upstream.name} is over within 5 s"
    bench.expect(took <= 5.0, what, f"after {took:.1f} s: {answer.raw}")


@check("STD-017", slow=True, timeout=90)
async def a_dead_stdio_upstream_is_started_again(bench: Workbench) -> None:
    """A killed child is replaced within 60 s and callable; one that always dies is not started in a tight loop."""
    mortal = bench.stdio("mortal")
    at_once = bench.stdio("at-once", Script(startup=[crash(1)]))
    when_ready = bench.stdio("when-ready", Script(on=[Rule("tools/list", [reply(), crash(1)])]))
    began = time.monotonic()
    async with bench.proxy(mortal, at_once, when_ready) as proxy:
        await proxy.handshake()
        await proxy.ready(mortal)
        os.kill(mortal.starts[-1].pid, signal.SIGKILL)
        await bench.eventually(lambda: len(mortal.starts) > 1, within=60.0, what="a second start")
        await _works_again(bench, proxy, mortal)

        def is_no_loop() -> None:
            # A child that ends on the probe of its era is started twice in one attempt (STD-022).
            for upstream, each in ((at_once, 2), (when_ready, 1)):
                starts, seconds = len(upstream.starts), time.monotonic() - began
                seen = f"{starts} starts of {upstream.name} in {seconds:.1f} s"
                bench.expect(starts <= each * (seconds + 1), "at most one attempt per second", seen)

        await bench.throughout(began + 5.0 - time.monotonic(), is_no_loop)


async def _works_again(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    """Call until the upstream answers: while it is starting, the proxy may refuse or wait."""
    deadline = time.monotonic() + 15.0
    while not is_echo(answer := await proxy.call(upstream.name, "echo", {"x": 1}), {"x": 1}):
        bench.expect(time.monotonic() < deadline, f"{upstream.name} can be called again", answer.raw)
        await anyio.sleep(0.2)


@check("STD-018", timeout=40)
async def large_lines_pass_intact(bench: Workbench) -> None:
    """An argument and a result of 5 MiB each have the same digest on both sides."""
    argument, answer = (_mebibytes(5, word) for word in ("argument", "réponse"))
    content = {"content": [{"type": "text", "text": answer}]}
    upstream = bench.stdio("a", Script(on=[on_call("echo", reply(content))]))
    async with bench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"text": argument}, within=15.0)
        bench.expect(not result.is_error, "the call succeeds", result.raw[:1000])
        arrived = upstream.requests("tools/call")[-1].params["arguments"]["text"]
        for what, sent, received in (("argument", argument, arrived), ("result", answer, result.text)):
            expected, seen = (f"{_digest(text)}, {len(text)} characters" for text in (sent, received))
            bench.expect(seen == expected, f"the {what} has the digest {expected}", seen)


def _mebibytes(count: int, word: str) -> str:
    """Text of at least this size in which no two places look alike."""
    line = len(f"{word} 00000000\n".encode())
    return "".join(f"{word} {number:08}\n" for number in range((count << 20) // line + 1))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@check("STD-020")
async def requests_from_the_upstream_are_answered(bench: Workbench) -> None:
    """In the middle of a call, ping gets an empty result and sampling an error, even under the call's own id."""
    sampling = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}
    actions = [
        send({"jsonrpc": "2.0", "id": "$id", "method": "ping"}),
        request("sampling/createMessage", sampling, id="sampling", wait=5.0),
        request("ping", id="ping", wait=5.0),
    ]
    upstream = bench.stdio("a", Script(on=[on_call("echo", *actions, reply())]))
    async with bench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"x": 1}, within=15.0)
        bench.expect(is_echo(result, {"x": 1}), "the call completes", result.raw)
        call = upstream.requests("tools/call")[-1].id
        answers = {entry.data["id"]: entry.message or {} for entry in upstream.events("answer")}
        for id_ in ("ping", call):
            answer = answers.get(id_, {}).get("result")
            bench.expect(answer == {}, f"an empty result for the ping {id_!r}", answers)
        refusal = answers.get("sampling", {}).get("error")
        is_error = isinstance(refusal, dict) and isinstance(refusal.get("code"), int)
        bench.expect(is_error, "an error for sampling, which the proxy has not declared", answers)


@check("STD-021", slow=True, timeout=60)
async def a_timed_out_call_is_cancelled_at_the_upstream(bench: Workbench) -> None:
    """The upstream hears that its call is cancelled, by the id that it knows; initialize is never cancelled."""
    hanging = bench.stdio("hanging", Script(on=[on_call("echo", silence())]), timeout={"tools": "1s"})
    mute = bench.stdio("mute", Script(on=[Rule("initialize", [silence()])]))
    async with bench.proxy(hanging, mute) as proxy:
        await proxy.handshake()
        await proxy.ready(hanging)
        for _ in range(5):
            await proxy.groups()  # so that the client's ids and the upstream's go apart
        await bench.together(
            partial(_is_cancelled, bench, proxy, hanging), partial(_is_abandoned, bench, mute)
        )
    initialize = {(request.pid, request.id) for request in mute.requests("initialize")}
    cancelled = {(c.pid, (c.params or {}).get("requestId")) for c in mute.requests("notifications/cancelled")}
    bench.expect(not initialize & cancelled, "initialize is never cancelled", cancelled)


async def _is_cancelled(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    await proxy.call(upstream.name, "echo")
    cancelled = await bench.eventually(
        lambda: upstream.requests("notifications/cancelled"),
        within=3.0,
        what="notifications/cancelled reaches the upstream",
    )
    (call,) = upstream.requests("tools/call")
    named = cancelled[0].params["requestId"] if isinstance(cancelled[0].params, dict) else None
    bench.expect(named == call.id and type(named) is type(call.id), f"requestId {call.id!r}", named)
    took = cancelled[0].t - call.t
    bench.expect(took <= 2.5, "it comes within 1 s after the timeout of 1 s", f"{took:.2f} s after the call")


async def _is_abandoned(bench: Workbench, upstream: StdioUpstream) -> None:
    """Wait until the proxy has given up its first initialize; one that never does has cancelled nothing."""
    await upstream.started()
    with suppress(Violation):
        await bench.eventually(
            lambda: upstream.events("eof") or len(upstream.starts) > 1 or not upstream.alive,
            within=17.0,
            what="initialize is given up",
        )


@check("STD-022", slow=True, timeout=60)
async def a_stdio_upstream_is_asked_for_its_era_first(bench: Workbench) -> None:
    """By its reaction to the probe each upstream is taken for modern or legacy, and each becomes usable."""
    # A contradiction, but the only way to ask for a retry from a proxy that knows one modern version.
    versions = {"supported": ["2099-01-01", MODERN], "requested": MODERN}
    legacy = {
        "unknown-method": error(-32601, "Method not found"),
        "invalid-params": error(-32602, "Invalid params"),
        "server-error": error(-32000, "Not initialized"),
        "silent": silence(),
    }
    modern = bench.stdio("modern", Script(era="modern"))
    picky = bench.stdio(
        "picky", Script(era="modern", on=[Rule(PROBE, [error(-32022, "Unsupported", versions)], nth=1)])
    )
    quitter = bench.stdio("quitter", Script(on=[Rule(PROBE, [crash(1)])]))
    old = [bench.stdio(name, Script(on=[Rule(PROBE, [act])])) for name, act in legacy.items()]
    async with bench.proxy(modern, picky, quitter, *old) as proxy:
        await proxy.handshake()
        cases = [partial(_stays_modern, bench, proxy, upstream) for upstream in (modern, picky)]
        cases += [partial(_falls_back, bench, proxy, upstream) for upstream in old]
        await bench.together(*cases, partial(_is_restarted, bench, proxy, quitter))


async def _becomes_usable(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    with bench.must(f"{upstream.name} becomes usable"):
        await proxy.ready(upstream)
    await is_echoed(bench, proxy, upstream.name, {"x": 1})
    probe = json.loads(upstream.lines[0])
    bench.expect(probe.get("method") == PROBE, f"{upstream.name}: the first message is {PROBE}", probe)
    meta = (probe.get("params") or {}).get("_meta") or {}
    is_modern = meta.get(f"{_META}protocolVersion") == MODERN and f"{_META}clientCapabilities" in meta
    bench.expect(is_modern, f"{upstream.name}: the probe carries modern _meta", probe)


async def _stays_modern(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    await _becomes_usable(bench, proxy, upstream)
    greetings = upstream.requests("initialize")
    bench.expect(not greetings, f"{upstream.name}: no initialize for a modern upstream", greetings)


async def _falls_back(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    await _becomes_usable(bench, proxy, upstream)
    starts = len(upstream.starts)
    bench.expect(starts == 1, f"{upstream.name}: initialize goes to the same process", f"{starts} starts")
    took = upstream.requests("initialize")[0].t - upstream.requests(PROBE)[0].t
    bench.expect(took <= 10.0, f"{upstream.name}: initialize within 10 s of the probe", f"{took:.1f} s")


async def _is_restarted(bench: Workbench, proxy: Proxy, upstream: StdioUpstream) -> None:
    await _becomes_usable(bench, proxy, upstream)
    again = upstream.starts[1]
    met_with = next(json.loads(e.text) for e in upstream.events("line") if e.pid == again.pid)
    what = f"{upstream.name}: the new process gets initialize first"
    bench.expect(met_with.get("method") == "initialize", what, met_with)
    # The first retry after a failure comes after 2 s; this is none.
    took = again.t - upstream.events("exit")[0].t
    bench.expect(took < 1.5, f"{upstream.name}: it is started again at once", f"after {took:.1f} s")
