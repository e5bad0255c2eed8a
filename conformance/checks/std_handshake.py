"""STD: the start of a connection to a stdio upstream: the era probe and the legacy handshake."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.model.registry import MODERN, REVISIONS
from mock_servers.script import Rule, Script, crash, error, on_call, send, silence, stop_reading

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

PROBE = "server/discover"


@check("STD-014", timeout=40, slow=True)
async def a_legacy_upstream_gets_the_full_handshake(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(strict=True, on=[on_call("add", crash())]))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.must("a strict legacy upstream becomes usable"):
            await proxy.ready(upstream)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})
        first = upstream.first_call.pid
        second = None if workbench.sut.profile.relay else await _next_process(workbench, proxy, upstream)
    _must_have_the_full_handshake(workbench, upstream, first)
    if second is not None:
        with workbench.case("the server starts again after a crash"):
            _must_have_the_full_handshake(workbench, upstream, second)


async def _next_process(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> int | None:
    """End the server, and return the process that has a handshake after that; None if the proxy does not start one."""
    ended = {request.pid for request in upstream.requests("initialize")}

    def greeted() -> list[int]:
        return [request.pid for request in upstream.requests("initialize") if request.pid not in ended]

    await proxy.call(upstream.name, "add", within=5.0)
    with anyio.move_on_after(5.0):
        while not greeted():
            # A proxy may start a server when it needs it.
            await proxy.call(upstream.name, "echo", {"x": 1}, within=5.0)
            await anyio.sleep(0.1)
    if not greeted():
        return None
    pid = greeted()[0]
    await workbench.eventually(
        lambda: any(request.pid == pid for request in upstream.requests("notifications/initialized")),
        within=10.0,
        what="notifications/initialized reaches a server that starts again",
    )
    return pid


def _must_have_the_full_handshake(workbench: Workbench, upstream: StdioMockUpstream, pid: int) -> None:
    story = _messages_of(upstream, pid)
    asked = [message for event, message in story if event == "line"]
    greetings = [message for message in asked if message.get("method") == "initialize"]
    workbench.expect(
        len(greetings) == 1 and asked[:1] == greetings, "initialize comes first, and only once", asked
    )
    params = greetings[0].get("params")
    workbench.expect(_is_complete(params), "protocolVersion, capabilities and clientInfo", params)
    second = workbench.at(asked, 1, "a second message follows")
    workbench.expect(
        second.get("method") == "notifications/initialized", "notifications/initialized follows", second
    )
    workbench.expect("id" not in second, "initialized is a notification: it has no id", second)
    before = story[: story.index(("line", second))]
    answered = any(event == "sent" and "result" in message for event, message in before)
    workbench.expect(answered, "initialized follows the answer to initialize", before)


def _messages_of(upstream: StdioMockUpstream, pid: int) -> list[tuple[str, dict[str, Any]]]:
    """What a process read ("line") and sent, in order, from the first message after the era probe."""
    entries = [entry for entry in upstream.entries if entry.pid == pid and entry.event in ("line", "sent")]
    messages = [(entry.event, entry.message or {}) for entry in entries]
    begin = next(
        (n for n, (event, m) in enumerate(messages) if event == "line" and m.get("method") != PROBE), 0
    )
    return messages[begin:]


def _is_complete(params: Any) -> bool:
    match params:
        case {
            "protocolVersion": str(),
            "capabilities": dict(),
            "clientInfo": {"name": str(), "version": str()},
        }:
            return True
    return False


@check("STD-022", slow=True, timeout=60)
async def a_stdio_upstream_is_asked_for_its_era_first(workbench: Workbench) -> None:
    # This error contradicts itself, but nothing else makes a proxy that knows one modern version retry.
    versions = {"supported": ["2099-01-01", MODERN], "requested": MODERN}
    legacy = {
        "unknown-method": error(-32601, "Method not found"),
        "invalid-params": error(-32602, "Invalid params"),
        "server-error": error(-32000, "Not initialized"),
        "silent": silence(),
    }
    modern = workbench.stdio("modern", Script(era="modern"))
    picky = workbench.stdio(
        "picky", Script(era="modern", on=[Rule(PROBE, [error(-32022, "Unsupported", versions)], nth=1)])
    )
    quitter = workbench.stdio("quitter", Script(on=[Rule(PROBE, [crash(1)])]))
    old = [workbench.stdio(name, Script(on=[Rule(PROBE, [act])])) for name, act in legacy.items()]
    async with workbench.proxy(modern, picky, quitter, *old) as proxy:
        await proxy.handshake()
        cases = [partial(_must_stay_modern, workbench, proxy, upstream) for upstream in (modern, picky)]
        cases += [partial(_must_fall_back, workbench, proxy, upstream) for upstream in old]
        await workbench.run_cases(*cases, partial(_must_be_restarted, workbench, proxy, quitter))


async def _must_become_usable(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    with workbench.must(f"{upstream.name} becomes usable"):
        await proxy.ready(upstream)
    await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
    first = upstream.events("line")[0]
    what = f"{upstream.name}: the first message is {PROBE} with modern _meta"
    workbench.expect(_is_probe(first.message), what, first.text)


def _is_probe(message: Any) -> bool:
    match message:
        case {
            "method": "server/discover",
            "params": {
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": dict(),
                }
            },
        }:
            return True
    return False


async def _must_stay_modern(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    await _must_become_usable(workbench, proxy, upstream)
    greetings = upstream.requests("initialize")
    workbench.expect(not greetings, f"{upstream.name}: no initialize for a modern upstream", greetings)


async def _must_fall_back(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    await _must_become_usable(workbench, proxy, upstream)
    starts = len(upstream.starts)
    workbench.expect(starts == 1, f"{upstream.name}: initialize goes to the same process", f"{starts} starts")
    greetings = upstream.requests("initialize")
    workbench.expect(greetings, f"{upstream.name}: initialize follows", upstream.lines)
    took = greetings[0].t - upstream.requests(PROBE)[0].t
    workbench.expect(took <= 10.0, f"{upstream.name}: initialize within 10 s of the probe", f"{took:.1f} s")


async def _must_be_restarted(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    await _must_become_usable(workbench, proxy, upstream)
    again = upstream.starts[1]
    met_with = next(entry.message or {} for entry in upstream.events("line") if entry.pid == again.pid)
    what = f"{upstream.name}: the new process gets initialize first"
    workbench.expect(met_with.get("method") == "initialize", what, met_with)
    # The first retry after a failure comes after 2 s, so an earlier start is not a retry.
    took = again.t - upstream.events("exit")[0].t
    workbench.expect(took < 1.5, f"{upstream.name}: it starts again within 1.5 s", f"after {took:.1f} s")


@check("STD-037", slow=True, timeout=60)
async def an_odd_answer_to_the_probe_leads_to_initialize(workbench: Workbench) -> None:
    answer = {"jsonrpc": "2.0", "id": "$id"}
    odd = {
        "nothing": send(answer),
        "no-jsonrpc": send({"id": "$id", "error": {"code": -32601, "message": "x"}}),
        "text-error": send({**answer, "error": "Unknown method"}),
        "empty-error": send({**answer, "error": {}}),
        "nulls": send({**answer, "result": None, "error": None}),
        "null-id": send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "x"}}),
        "list": send([]),
        "no-versions": error(-32022, "Unsupported", {"supported": []}),
        "list-result": send({**answer, "result": []}),
    }
    upstreams = [workbench.stdio(name, Script(on=[Rule(PROBE, [act])])) for name, act in odd.items()]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await workbench.run_cases(*(partial(_must_fall_back, workbench, proxy, one) for one in upstreams))


@check("STD-038", slow=True, timeout=60)
async def a_child_that_hangs_because_of_the_probe_is_started_without_it(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[Rule(PROBE, [stop_reading(), silence()])]))
    await _must_work_without_the_probe(workbench, upstream, 40.0)


@check("STD-039")
async def a_child_that_answers_the_probe_and_exits_is_started_without_it(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[Rule(PROBE, [error(-32601, "Method not found"), crash(1)])]))
    await _must_work_without_the_probe(workbench, upstream, 15.0)


async def _must_work_without_the_probe(
    workbench: Workbench, upstream: StdioMockUpstream, within: float
) -> None:
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.must("the server becomes usable without the probe"):
            await proxy.ready(upstream, within=within)
        await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})


@check("STD-062")
async def a_server_that_refuses_the_newest_version_gets_an_older_one(workbench: Workbench) -> None:
    oldest, *newer = REVISIONS[:-1]
    refusals = [
        Rule(
            "initialize",
            [error(-32602, "Unsupported protocol version", {"supported": [oldest], "requested": version})],
            params={"protocolVersion": version},
        )
        for version in newer
    ]
    upstream = workbench.stdio("a", Script(on=refusals))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.must("the server becomes usable with the version that it names"):
            await proxy.ready(upstream, within=15.0)
        await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
