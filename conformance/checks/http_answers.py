"""HTTP: how the proxy handles the good and the bad answers of a Streamable HTTP upstream."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from conformance.checks import check
from conformance.checks.common import must_be_callable, must_be_echo
from conformance.workbench.transcript import part
from mock_servers.actions import hold, notify, release, reply, request, sleep, wrong_id_reply
from mock_servers.remote_actions import answer_as, cut, respond, stream
from mock_servers.script import Http, Script, echo_tool, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Rule

PROGRESS = notify("notifications/progress", {"progressToken": "nobody", "progress": 1})
TEXT = 'Grüße, 設定: "x"\\y'


def _script(*rules: Rule) -> Script:
    """A script with these rules, echo, and a tool for each further name in the rules."""
    names = dict.fromkeys(rule.tool for rule in rules if rule.tool not in (None, "echo"))
    return Script(tools=[echo_tool(), *(tool(str(name)) for name in names)], on=list(rules))


async def _must_say(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream, name: str, text: str
) -> None:
    result = await proxy.call(upstream.name, name)
    workbench.expect(not result.is_error, f"the call of {name} succeeds", result.raw)
    workbench.expect(result.text == text, f"the call of {name} says {text!r}", result.raw)


@check("HTTP-002")
async def a_plain_json_answer_is_accepted(workbench: Workbench) -> None:
    answer = reply({"content": [{"type": "text", "text": TEXT}]})
    kinds = {"bare": "application/json", "charset": "application/json; charset=utf-8"}
    upstream = await workbench.http(
        "a", _script(*(on_call(name, answer_as("json", kind), answer) for name, kind in kinds.items()))
    )
    async with workbench.serving(upstream) as proxy:
        for name in kinds:
            await _must_say(workbench, proxy, upstream, name, TEXT)


@check("HTTP-003")
async def the_response_is_found_among_other_messages(workbench: Workbench) -> None:
    log = notify("notifications/message", {"level": "info", "data": "working"})
    rule = on_call("echo", PROGRESS, log, request("ping", id="ping-of-the-server"), reply())
    upstream = await workbench.http("a", _script(rule))
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"x": "the answer"}, within=5.0)
        workbench.expect(not result.is_error, "the call succeeds", result.raw)
        workbench.expect("the answer" in result.text, "the result of the response", result.raw)
        answered = "a POST that answers the upstream's ping"
        pongs = await workbench.eventually(lambda: upstream.events("answer"), within=5.0, what=answered)
        pong = workbench.one(pongs, "one answer to it")
        workbench.expect(pong.data["id"] == "ping-of-the-server", answered, pong.text)
        workbench.expect("result" in (pong.message or {}), "the answer to the ping is a result", pong.text)


def _encodings() -> dict[str, list[str | bytes]]:
    """Six encodings of one answer, each as a list of pieces that the upstream sends apart."""
    before = '{"jsonrpc":"2.0","id":"$id",'
    after = '"result":{"content":[{"type":"text","text":' + json.dumps(TEXT, ensure_ascii=False) + "}]}}"
    whole = before + after
    # The mock puts the id into text only. So a piece of bytes, cut inside a character, comes only after the
    # id.
    cut = after.encode().index("ü".encode()) + 1
    rest = f"{after}\r\n\r\n".encode()
    return {
        "crlf": [f"event: message\r\ndata: {whole}\r\n\r\n"],
        "cr": [f"event: message\rdata: {whole}\r\r"],
        "fields": [f": a comment\nid: 7\nunknown: x\nunknown\nretry: 100\ndata:{whole}\n\n"],
        "lines": [f"data: {before}\ndata: {after}\n\n"],
        "priming": [f"id: p-1\ndata:\n\n:\n\ndata\n\nid: p-2\ndata: {whole}\n\n"],
        "segments": [
            "eve",
            "nt: message\r",
            f"\ndata: {before}",
            rest[:cut],
            rest[cut:-3],
            rest[-3:-1],
            rest[-1:],
        ],
    }


@check("HTTP-004", timeout=40, slow=True)
async def event_streams_are_parsed_as_the_standard_says(workbench: Workbench) -> None:
    encodings = _encodings()
    rules = [on_call(name, stream(*pieces, pause=0.05)) for name, pieces in encodings.items()]
    upstream = await workbench.http("a", _script(*rules))
    async with workbench.serving(upstream) as proxy:
        for name in encodings:
            await _must_say(workbench, proxy, upstream, name, TEXT)


@check("HTTP-005", timeout=40)
async def the_result_is_delivered_as_soon_as_its_event_arrives(workbench: Workbench) -> None:
    upstream = await workbench.http("a", _script(on_call("echo", answer_as("sse"), reply(), sleep(20.0))))
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"x": "early"}, within=15.0)
        workbench.expect(not result.is_error, "the call succeeds", result.raw)
        answers = [entry for entry in upstream.events("sent") if "early" in entry.text]
        late = result.t - workbench.one(answers, "the call is made once").t
        workbench.expect(late <= 2.0, "the result within 2 s after its event", f"{late:.2f} s")


_HTML, _JSON = {"Content-Type": "text/html"}, {"Content-Type": "application/json"}
#: answers that are no result, by the names of the tools that get them
BAD = {
    "status400": respond(400, "no"),
    "status500": respond(500, "Internal Server Error"),
    "page": respond(200, "<html><body>Welcome</body></html>", headers=_HTML),
    "broken": respond(200, '{"jsonrpc":"2.0","id":"$id","result":{"content":[', headers=_JSON),
    "foreign": wrong_id_reply(),
}


@check("HTTP-016", timeout=60)
async def a_bad_answer_fails_one_call_only(workbench: Workbench) -> None:
    """A program that takes no timeout can wait for the answer that belongs to no request."""
    limit = {"timeout": {"tools": "3s"}} if workbench.can_set("timeout") else {}
    upstream = await _answering_badly(workbench, **limit)
    async with workbench.serving(upstream) as proxy:
        for name in BAD.keys() - (() if limit else {"foreign"}):
            await _must_be_an_error(workbench, proxy, upstream, name, within=3.0 + 5.0)
        await must_be_callable(workbench, proxy, upstream)


@check("HTTP-030", timeout=60)
async def a_bad_answer_fails_its_call_at_once(workbench: Workbench) -> None:
    upstream = await _answering_badly(workbench)
    async with workbench.serving(upstream) as proxy:
        await workbench.run_cases(
            *(partial(_must_be_an_error, workbench, proxy, upstream, name, within=5.0) for name in BAD)
        )


async def _answering_badly(workbench: Workbench, **fields: Any) -> RemoteMockUpstream:
    return await workbench.http(
        "a", _script(*(on_call(name, action) for name, action in BAD.items())), **fields
    )


async def _must_be_an_error(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream, name: str, *, within: float
) -> None:
    with workbench.case(f"the answer {name}"), workbench.must(f"an error within {within:g} s"):
        answer = await proxy.call("a", name, within=within)
        workbench.expect(answer.is_error, "an error for the client", answer.raw)
        made = [part(call.params, "name") for call in upstream.requests("tools/call")]
        workbench.expect(name in made, "the call reaches the upstream", made)


@check("HTTP-017", timeout=60, slow=True)
async def no_hidden_timeout_cuts_a_call_short(workbench: Workbench) -> None:
    upstream = await workbench.http("a", _script(on_call("echo", sleep(12.0))))
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"x": "slow"}, within=30.0)
        workbench.expect(not result.is_error and "slow" in result.text, "the result after 12 s", result.raw)


@check("HTTP-018", timeout=40)
async def calls_to_one_upstream_run_concurrently(workbench: Workbench) -> None:
    """The later call of each pair is answered first, as one JSON object and as a stream of events."""
    forms = {form: Script(on=_in_swapped_pairs("echo", _CALLS), http=Http(answers=form)) for form in _FORMS}
    upstreams = [await workbench.http(form, script) for form, script in forms.items()]
    async with workbench.serving(*upstreams) as proxy:
        for upstream in upstreams:
            with workbench.case(f"answers as {upstream.name}"):
                await _run_concurrently(workbench, proxy, upstream)


_CALLS = 8
_FORMS: tuple[Literal["json", "sse"], ...] = ("json", "sse")


async def _run_concurrently(workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream) -> None:
    arrivals: list[float] = []

    async def must_be_answered(number: int) -> None:
        arguments = {"number": number}
        answer = await proxy.call(upstream.name, "echo", arguments)
        must_be_echo(workbench, answer, arguments)
        arrivals.append(answer.t)

    await workbench.run_cases(*(partial(must_be_answered, number) for number in range(_CALLS)))
    calls = upstream.requests("tools/call")
    workbench.expect(len(calls) == _CALLS, f"{_CALLS} calls reach the upstream", calls)
    took = max(arrivals) - calls[-1].t
    workbench.expect(took <= 1.0, "all results within 1 s of the last call", f"{took:.2f} s")


def _in_swapped_pairs(tool: str, calls: int) -> list[Rule]:
    """Rules by which an upstream answers the second call before the first, the fourth before the third, and so on."""
    rules = []
    for nth in range(1, calls, 2):
        later = f"call {nth + 1} is answered"
        rules += [
            on_call(tool, hold(later), reply(), nth=nth),
            on_call(tool, reply(), release(later), nth=nth + 1),
        ]
    return rules


@check("HTTP-019", timeout=40)
async def a_connection_lost_before_the_response_ends_the_call(workbench: Workbench) -> None:
    """The proxy must not repeat the lost call by itself."""
    upstream = await workbench.http("a", _script(on_call("lost", PROGRESS, sleep(0.2), cut())))
    async with workbench.serving(upstream) as proxy:
        answer = await proxy.call("a", "lost", within=20.0)
        workbench.expect(answer.is_error, "the call is an error", answer.raw)
        lost = workbench.one(upstream.posts("tools/call"), "the call is POSTed once")
        assert lost.ended is not None
        late = answer.t - lost.ended
        workbench.expect(late <= 5.0, "an error within 5 s after the break", f"{late:.2f} s")
        await must_be_callable(workbench, proxy, upstream)
        calls = upstream.posts("tools/call")
        workbench.expect(len(calls) == 2, "the next call is POSTed once", calls)
        workbench.expect(calls[1].connection != lost.connection, "another connection", calls[1])
