"""STD, HTTP: upstreams whose messages are almost right. A client without such care waits until its timeout.

Each call has a text of its own, and the journal shows that it arrived. All bounds are far below the timeout of 30 s.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import is_echo, must_be_echoed
from conformance.errors import NotApplicable, Violation
from mock_servers.remote_actions import respond, stream
from mock_servers.script import Script, any_arguments, echo_tool, on_call, raw, reply, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Action

BOM = "\ufeff"
#: seconds for an answer that comes before the timeout
SOON = 5.0
TEXT = 'NaN, Infinity and "id" stay'
#: the id of a request, as each server spells it
IDS = {"text": '""$id""', "decimal": '"$id".0', "decimal-text": '""$id".0"'}
RESULT = json.dumps({"content": [{"type": "text", "text": TEXT}]})
#: a result with numbers that are no JSON
NUMBERS = RESULT[:-1] + ', "structuredContent": {"mean": NaN, "range": [-Infinity, 1, Infinity]}}'
MAX_LINES = 3


def answer(id: str = '"$id"', result: str = RESULT) -> str:
    """An answer whose ``"$id"`` the mock replaces."""
    return f'{{"jsonrpc":"2.0","id":{id},"result":{result}}}'


def tools_for(actions: dict[str, Action]) -> Script:
    """A script with `echo` and one tool for each action, which answers its calls."""
    rules = [on_call(name, action) for name, action in actions.items()]
    tools = [tool(name, properties=any_arguments("case")) for name in actions]
    return Script(tools=[echo_tool(), *tools], on=rules)


@check("STD-041")
async def a_byte_order_mark_is_ignored(workbench: Workbench) -> None:
    at_start = workbench.stdio("at-start", Script(startup=[raw(BOM)]))
    before_each = workbench.stdio("before-each", Script(on=[on_call("echo", raw(BOM), reply())]))
    async with workbench.proxy(at_start, before_each) as proxy:
        await proxy.handshake()
        for upstream in (at_start, before_each):
            with workbench.case(upstream.name):
                with workbench.must("the server becomes usable"):
                    await proxy.ready(upstream)
                await must_be_echoed(workbench, proxy, upstream.name, {"x": upstream.name})


@check("STD-042")
async def an_id_in_another_spelling_belongs_to_its_request(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", tools_for({name: raw(answer(id) + "\n") for name, id in IDS.items()}))
    async with workbench.serving(upstream) as proxy:
        if not await _ids_are_numbers(workbench, proxy, upstream):
            raise NotApplicable("its ids are texts, which have one spelling")
        for name in IDS:
            with workbench.case(f"the id as {name}"):
                await _must_say_the_text(workbench, proxy, upstream, name)


async def _ids_are_numbers(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> bool:
    await must_be_echoed(workbench, proxy, upstream.name, {"x": upstream.name})
    calls = workbench.some(upstream.requests("tools/call"), "a call")
    return not any(isinstance(one.message["id"], str) for one in calls)


async def _must_say_the_text(workbench: Workbench, proxy: Proxy, upstream: MockUpstream, name: str) -> None:
    result = await proxy.call(upstream.name, name, {"case": name}, within=SOON)
    workbench.expect(not result.is_error and result.text == TEXT, f"the text {TEXT!r}", result.raw)


@check("STD-043")
async def numbers_that_are_no_json_never_reach_the_client(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", tools_for({"numbers": raw(answer(result=NUMBERS) + "\n")}))
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("a", "numbers", within=SOON)
        _must_be_json(result)
        if not result.is_error:
            workbench.expect(result.text == TEXT, f"an error, or the text {TEXT!r}", result.raw)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})


def _must_be_json(answer: Answer) -> None:
    def refuse(number: str) -> Any:
        raise Violation("an answer that is valid JSON", f"{number}: {answer.raw}")

    json.loads(answer.raw, parse_constant=refuse)


@check("STD-044")
async def a_log_line_in_json_is_no_answer(workbench: Workbench) -> None:
    lines = [
        '{"level":30,"id":"$id","msg":"call begins"}',
        '{"level":"error","id":"$id","error":"nothing found","ts":1.5}',
        '{"id":"$id","method":"GET","url":"/x"}',
        '{"severity":"INFO","result":"ok","id":"$id"}',
    ]
    upstream = workbench.stdio(
        "a", Script(on=[on_call("echo", *(raw(f"{one}\n") for one in lines), reply())])
    )
    async with workbench.serving(upstream) as proxy:
        for number in (1, 2):
            result = await proxy.call("a", "echo", {"number": number}, within=SOON)
            workbench.expect(is_echo(result, {"number": number}), f"the result of call {number}", result.raw)


@check("STD-045")
async def data_that_is_no_message_is_reported_once(workbench: Workbench) -> None:
    noise = "listening on port 80"
    upstream = workbench.stdio("noisy-one", Script(on=[on_call("echo", raw(f"{noise}\n"), reply())]))
    named = re.escape(upstream.name)
    if workbench.sut.profile.single is not None:
        # The program knows no name, and needs none, because it has one server.
        command = Path(str(upstream.entry.get("command", noise))).name
        named = f"(?i:json|messages?|server|upstream|{re.escape(noise)}|{re.escape(command)})"
    async with workbench.serving(upstream) as proxy:

        def lines() -> list[str]:
            return [line for line in proxy.stderr.splitlines() if re.search(named, line)]

        before = len(lines())
        await must_be_echoed(workbench, proxy, upstream.name, {"number": 0})
        what = f"a line of stderr with {named} after a line that is no message"
        await workbench.eventually(lambda: len(lines()) > before, within=3.0, what=what)
        for number in range(1, 9):
            await must_be_echoed(workbench, proxy, upstream.name, {"number": number})
        new = lines()[before:]
        workbench.expect(len(new) <= MAX_LINES, f"at most {MAX_LINES} lines about nine such lines", new)


@check("HTTP-040")
async def almost_right_answers_over_http_are_understood(workbench: Workbench) -> None:
    bodies = {
        "mark": BOM + answer(),
        "numbers": answer(result=NUMBERS),
        **{f"id-as-{name}": answer(id) for name, id in IDS.items()},
    }
    json_type = {"Content-Type": "application/json"}
    plain = await workbench.http(
        "json", tools_for({name: respond(200, body, headers=json_type) for name, body in bodies.items()})
    )
    events = await workbench.http(
        "sse", tools_for({name: stream(f"data: {body}\n\n") for name, body in bodies.items()})
    )
    async with workbench.serving(plain, events) as proxy:
        for upstream in (plain, events):
            # An id that is a text has no other spelling.
            spelled = IDS if await _ids_are_numbers(workbench, proxy, upstream) else ()
            names = ("mark", "numbers", *(f"id-as-{name}" for name in spelled))
            await workbench.run_cases(
                *(partial(_must_be_understood, workbench, proxy, upstream, name) for name in names)
            )


async def _must_be_understood(workbench: Workbench, proxy: Proxy, upstream: MockUpstream, name: str) -> None:
    with workbench.case(f"{name} as {upstream.name}"):
        result = await proxy.call(upstream.name, name, {"case": name}, within=SOON)
        _must_be_json(result)
        if name != "numbers" or not result.is_error:
            workbench.expect(not result.is_error and result.text == TEXT, f"the text {TEXT!r}", result.raw)
