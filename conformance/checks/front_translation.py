"""FRONT: clients and upstreams of both eras, in all four pairs.

Only its own era decides what a client may see. A legacy client gets a request when the upstream needs input,
a modern client gets an `input_required` result.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.front_modern import code_of, modern
from conformance.workbench.exposed import declares
from conformance.workbench.transcript import part
from mock_servers.script import Rule, Script, error, on_call, reply, request

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
ELICIT = "elicitation/create"
ASK = {"method": ELICIT, "params": {"mode": "form", **FORM}}
GIVEN = {"action": "accept", "content": {"name": "bob"}}
STATE = 'opaque "state" é\u2028{}\\'
CAN_BE_ASKED: dict[str, Any] = {"elicitation": {}}


def _needing_input(workbench: Workbench) -> tuple[StdioMockUpstream, StdioMockUpstream]:
    """A legacy and a modern upstream whose tool needs input and whose resource does not exist."""
    gone = [{"uri": "x://old", "name": "gone"}], [{"uri": "x://new", "name": "gone"}]
    asks = on_call("echo", request(ELICIT, FORM, id="question", wait=4.0))
    old = Script(resources=gone[0], on=[asks, Rule("resources/read", [error(-32002, "Resource not found")])])
    needs = {"resultType": "input_required", "inputRequests": {"q1": ASK}, "requestState": STATE}
    new = Script(
        era="modern",
        resources=gone[1],
        on=[
            on_call("echo", reply(needs), nth=1),
            Rule("resources/read", [error(-32602, "Resource not found")]),
        ],
    )
    return workbench.stdio("old", old), workbench.stdio("new", new)


@check("FRONT-031", timeout=60, slow=True)
async def messages_are_translated_between_the_eras(workbench: Workbench) -> None:
    old, new = _needing_input(workbench)
    async with modern(workbench, old, new, capabilities=CAN_BE_ASKED) as proxy:
        with workbench.case("modern client, modern upstream"):
            await _is_relayed(workbench, proxy, new)
        with workbench.case("modern client, legacy upstream"):
            await _is_settled_without_a_request(workbench, proxy, old)
        has_resources = (await proxy.request("server/discover")).member(
            "capabilities", "resources"
        ) is not None
        await _finds_nothing(workbench, proxy, {-32602}, has_resources)
    clients: tuple[dict[str, Any], ...] = (CAN_BE_ASKED, {})
    for capabilities in clients:
        old, new = _needing_input(workbench)
        async with workbench.proxy(old, new) as proxy, proxy.answering({ELICIT: GIVEN}):
            proxy.capabilities = capabilities
            await proxy.handshake()
            await proxy.ready(old, new)
            with workbench.case(f"legacy client that declares {list(capabilities)}, modern upstream"):
                await _is_asked_or_refused(workbench, proxy, new, bool(capabilities))
            with workbench.case(f"legacy client that declares {list(capabilities)}, legacy upstream"):
                await proxy.call("old", "echo")
                workbench.expect(
                    old.events("answer"), "the upstream's request gets an answer within 4 s", "none"
                )
            await _finds_nothing(workbench, proxy, {-32002, -32602}, declares(proxy, "resources"))


async def _is_relayed(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """The client sees what the upstream needs. The retry takes the client's input to the upstream.

    The proxy may add which server asks (FRONT-038), but the question keeps its words, its mode and its schema.
    """
    answer = await proxy.call("new", "echo", within=5.0)
    result = answer.result if isinstance(answer.result, dict) else {}
    workbench.expect(result.get("resultType") == "input_required", "an input_required result", answer.raw)
    workbench.expect(result.get("requestState") == STATE, f"the requestState {STATE!r}", answer.raw)
    workbench.expect(_keeps(ASK, part(result, "inputRequests", "q1")), f"the question {ASK}", answer.raw)
    retried = await _retry(proxy, "new", answer)
    workbench.expect(retried.member("resultType") == "complete", "the retry completes", retried.raw)
    last = workbench.at(upstream.requests("tools/call"), -1, "a call reaches the upstream")
    seen = last.param("requestState"), last.param("inputResponses")
    workbench.expect(seen == (STATE, {"q1": GIVEN}), "state and input reach the upstream", last.params)


def _keeps(asked: Any, shown: Any) -> bool:
    """Whether a question has everything that was asked; additional members and words are allowed."""
    if isinstance(asked, dict):
        return isinstance(shown, dict) and all(_keeps(value, shown.get(key)) for key, value in asked.items())
    if isinstance(asked, str):
        return isinstance(shown, str) and asked in shown
    return bool(asked == shown)


async def _is_settled_without_a_request(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream
) -> None:
    """The proxy refuses the upstream's request or turns it into an input_required result. The client gets no
    request.
    """
    answer = await proxy.call("old", "echo", within=5.0)
    result = answer.result if isinstance(answer.result, dict) else {}
    if result.get("resultType") == "input_required":
        answer = await _retry(proxy, "old", answer)
        workbench.expect(not answer.is_error, "the retry completes", answer.raw)
        given = [json.loads(entry.text).get("result") for entry in upstream.events("answer")]
        workbench.expect(given == [GIVEN], "the input is the answer to the upstream's request", given)
    answers = upstream.events("answer")
    workbench.expect(len(answers) == 1, "the upstream's request gets one answer within 4 s", answers)
    asked = proxy.transcript.asked()
    workbench.expect(not asked, "no request to a modern client", asked)


async def _retry(proxy: Proxy, group: str, answer: Answer) -> Answer:
    needed = answer.member("inputRequests")
    responses = dict.fromkeys(needed, GIVEN) if isinstance(needed, dict) else {}
    state = {} if (given := answer.member("requestState")) is None else {"requestState": given}
    params = {**proxy.call_params(group, "echo"), "inputResponses": responses, **state}
    return await proxy.request("tools/call", params, within=5.0)


async def _is_asked_or_refused(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, can_be_asked: bool
) -> None:
    """A legacy client gets a request if it can answer one, otherwise an error."""
    answer = await proxy.call("new", "echo", within=5.0)
    result = answer.result if isinstance(answer.result, dict) else {}
    workbench.expect(result.get("resultType") != "input_required", "no input_required result", answer.raw)
    asked = proxy.transcript.asked(ELICIT)
    if answer.is_error:
        return
    workbench.expect(can_be_asked, "an error for a client that cannot answer the request", answer.raw)
    workbench.expect(asked, "a call that needs input is an error without a request to the client", answer.raw)
    last = workbench.at(upstream.requests("tools/call"), -1, "a call reaches the upstream")
    seen = last.param("requestState"), last.param("inputResponses")
    workbench.expect(seen == (STATE, {"q1": GIVEN}), "state and input reach the upstream", last.params)


async def _finds_nothing(workbench: Workbench, proxy: Proxy, codes: set[int], has_resources: bool) -> None:
    for uri in ("x://old", "x://new") if has_resources else ():
        answer = await proxy.request("resources/read", {"uri": uri})
        workbench.expect(
            code_of(answer) in codes, f"{uri} does not exist: one of {sorted(codes)}", answer.raw
        )
