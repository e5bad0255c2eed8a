"""FRONT: clients and upstreams of both eras, in all four pairs.

Only its own era decides what a client may see. A legacy client gets a request when the upstream needs input,
a modern client gets an `input_required` result.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.front_modern import modern
from conformance.errors import NotApplicable
from conformance.workbench.exposed import exposed_uri
from mock_servers.script import Rule, Script, error, on_call, reply, request

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Era

FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
ELICIT = "elicitation/create"
ASK = {"method": ELICIT, "params": {"mode": "form", **FORM}}
GIVEN = {"action": "accept", "content": {"name": "bob"}}
STATE = 'opaque "state" é\u2028{}\\'
CAN_BE_ASKED: dict[str, Any] = {"elicitation": {}}


def _needing_input(workbench: Workbench) -> tuple[StdioMockUpstream, StdioMockUpstream]:
    """A legacy and a modern upstream whose tool needs input."""
    asks = on_call("echo", request(ELICIT, FORM, id="question", wait=4.0))
    needs = {"resultType": "input_required", "inputRequests": {"q1": ASK}, "requestState": STATE}
    new = Script(era="modern", on=[on_call("echo", reply(needs), nth=1)])
    return workbench.stdio("old", Script(on=[asks])), workbench.stdio("new", new)


@check("FRONT-031", timeout=60, slow=True)
async def messages_are_translated_between_the_eras(workbench: Workbench) -> None:
    old, new = _needing_input(workbench)
    async with modern(workbench, old, new, capabilities=CAN_BE_ASKED) as proxy:
        with workbench.case("modern client, modern upstream"):
            await _must_be_relayed(workbench, proxy, new)
        with workbench.case("modern client, legacy upstream"):
            await _must_be_settled_without_a_request(workbench, proxy, old)
    clients: tuple[dict[str, Any], ...] = (CAN_BE_ASKED, {})
    for capabilities in clients:
        old, new = _needing_input(workbench)
        async with workbench.proxy(old, new) as proxy, proxy.answering({ELICIT: GIVEN}):
            proxy.capabilities = capabilities
            await proxy.handshake()
            await proxy.ready(old, new)
            with workbench.case(f"legacy client that declares {list(capabilities)}, modern upstream"):
                await _must_be_asked_or_refused(workbench, proxy, new, bool(capabilities))
            with workbench.case(f"legacy client that declares {list(capabilities)}, legacy upstream"):
                await proxy.call("old", "echo")
                workbench.expect(
                    old.events("answer"), "the upstream's request gets an answer within 4 s", "none"
                )


async def _must_be_relayed(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Raise `Violation` unless the client sees what the upstream needs, and the retry takes the client's input to the upstream.

    The proxy may add which server asks (FRONT-038), but the question keeps its words, its mode and its schema.
    """
    answer = await proxy.call("new", "echo", within=5.0)
    result = answer.result if isinstance(answer.result, dict) else {}
    workbench.expect(result.get("resultType") == "input_required", "an input_required result", answer.raw)
    questions = result.get("inputRequests")
    shown = list(questions.values()) if isinstance(questions, dict) else []
    workbench.expect(any(_keeps(ASK, one) for one in shown), f"the question {ASK}", answer.raw)
    retried = await retry(proxy, "new", answer)
    workbench.expect(retried.member("resultType") == "complete", "the retry completes", retried.raw)
    _must_have_got_the_input(workbench, upstream)


def _must_have_got_the_input(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    last = workbench.at(upstream.requests("tools/call"), -1, "a call reaches the upstream")
    seen = last.param("inputResponses")
    workbench.expect(seen == {"q1": GIVEN}, "the input reaches the upstream", last.params)


def _keeps(asked: Any, shown: Any) -> bool:
    """Whether a question has everything that was asked; additional members and words are allowed."""
    if isinstance(asked, dict):
        return isinstance(shown, dict) and all(_keeps(value, shown.get(key)) for key, value in asked.items())
    if isinstance(asked, str):
        return isinstance(shown, str) and asked in shown
    return bool(asked == shown)


async def _must_be_settled_without_a_request(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream
) -> None:
    """Raise `Violation` unless the proxy refuses the upstream's request, or turns it into an input_required result.

    The client gets no request.
    """
    answer = await proxy.call("old", "echo", within=5.0)
    result = answer.result if isinstance(answer.result, dict) else {}
    if result.get("resultType") == "input_required":
        answer = await retry(proxy, "old", answer)
        workbench.expect(not answer.is_error, "the retry completes", answer.raw)
        given = [json.loads(entry.text).get("result") for entry in upstream.events("answer")]
        workbench.expect(given == [GIVEN], "the input is the answer to the upstream's request", given)
    answers = upstream.events("answer")
    workbench.expect(len(answers) == 1, "the upstream's request gets one answer within 4 s", answers)
    _must_ask_nothing(workbench, proxy)


def _must_ask_nothing(workbench: Workbench, proxy: Proxy) -> None:
    asked = proxy.transcript.asked()
    workbench.expect(not asked, "no request to a modern client", asked)


async def retry(proxy: Proxy, group: str, answer: Answer, *, within: float = 5.0, **params: Any) -> Answer:
    """The answer to the repeated call with what the first one asked for. A state is in it only if the proxy gave one."""
    needed = answer.member("inputRequests")
    responses = dict.fromkeys(needed, GIVEN) if isinstance(needed, dict) else {}
    state = {} if (given := answer.member("requestState")) is None else {"requestState": given}
    params |= {**proxy.call_params(group, "echo"), "inputResponses": responses, **state}
    return await proxy.request("tools/call", params, within=within)


async def _must_be_asked_or_refused(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, can_be_asked: bool
) -> None:
    """Raise `Violation` unless a legacy client gets a request if it can answer one, otherwise an error."""
    answer = await proxy.call("new", "echo", within=5.0)
    result = answer.result if isinstance(answer.result, dict) else {}
    workbench.expect(result.get("resultType") != "input_required", "no input_required result", answer.raw)
    asked = proxy.transcript.asked(ELICIT)
    if answer.is_error:
        return
    workbench.expect(can_be_asked, "an error for a client that cannot answer the request", answer.raw)
    workbench.expect(asked, "a call that needs input is an error without a request to the client", answer.raw)
    _must_have_got_the_input(workbench, upstream)


@check("FRONT-168", timeout=60, slow=True)
async def a_modern_client_gets_no_request_and_a_modern_server_its_state(workbench: Workbench) -> None:
    """A proxy that relays no question passes, if ordinary calls work."""
    old, new = _needing_input(workbench)
    async with modern(workbench, old, capabilities=CAN_BE_ASKED) as proxy:
        with workbench.case("modern client, legacy upstream"):
            await proxy.call("old", "echo", within=5.0)
            await _adds(workbench, proxy, "old")
            _must_ask_nothing(workbench, proxy)
    async with modern(workbench, new, capabilities=CAN_BE_ASKED) as proxy:
        with workbench.case("modern client, modern upstream"):
            answer = await proxy.call("new", "echo", within=5.0)
            if answer.member("resultType") == "input_required":
                await retry(proxy, "new", answer)
            await _must_have_its_state(workbench, proxy, new)
            _must_ask_nothing(workbench, proxy)
    old, new = _needing_input(workbench)
    async with workbench.proxy(new) as proxy, proxy.answering({ELICIT: GIVEN}):
        proxy.capabilities = CAN_BE_ASKED
        await proxy.handshake()
        await proxy.ready(new)
        with workbench.case("legacy client"):
            await proxy.call("new", "echo", within=5.0)
            await _must_have_its_state(workbench, proxy, new)


async def _must_have_its_state(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Raise `Violation` unless each later request of the interrupted call has a new id, and the state as the server gave it."""
    calls = upstream.requests("tools/call")
    first = workbench.at(calls, 0, "a call reaches the upstream")
    if len(calls) == 1:
        workbench.note("the proxy relays no question, so no state goes back")
    for repeated in calls[1:]:
        state = repeated.param("requestState")
        workbench.expect(state == STATE, f"the state {STATE!r}", repeated.params)
        workbench.expect(repeated.id != first.id, "a new id for the retry", repeated.id)
    await _adds(workbench, proxy, upstream.name)


async def _adds(workbench: Workbench, proxy: Proxy, group: str) -> None:
    answer = await proxy.call(group, "add", {"a": 1, "b": 2})
    workbench.expect(not answer.is_error, f"an ordinary call to {group} succeeds", answer.raw)


@check("FRONT-169", timeout=40)
async def a_missing_resource_is_invalid_params_for_a_modern_client(workbench: Workbench) -> None:
    """The legacy upstream answers -32002. A listed resource that exists is read first."""
    eras: tuple[Era, ...] = ("legacy", "modern")
    upstreams = [_with_a_missing_resource(workbench, era) for era in eras]
    async with modern(workbench, *upstreams) as proxy:
        found = await proxy.request("server/discover")
        if found.member("capabilities", "resources") is None:
            raise NotApplicable("it does not declare resources")
        for upstream in upstreams:
            there, gone = [
                await exposed_uri(proxy, upstream.name, f"{upstream.name}://{path}")
                for path in ("there", "gone")
            ]
            answer = await proxy.request("resources/read", {"uri": there})
            workbench.expect(answer.member("contents"), f"the contents of {there}", answer.raw)
            await _must_not_exist(workbench, proxy, gone)
        await _must_not_exist(workbench, proxy, "unknown://resource")


def _with_a_missing_resource(workbench: Workbench, era: Era) -> StdioMockUpstream:
    """An upstream of this era that lists two resources, of which one does not exist any more."""
    there, gone = f"{era}://there", f"{era}://gone"
    code = -32002 if era == "legacy" else -32602
    refuses = Rule("resources/read", [error(code, "Resource not found")], params={"uri": gone})
    listed = [{"uri": there, "name": "there"}, {"uri": gone, "name": "gone"}]
    return workbench.stdio(era, Script(era=era, resources=listed, on=[refuses]))


async def _must_not_exist(workbench: Workbench, proxy: Proxy, uri: str) -> None:
    answer = await proxy.request("resources/read", {"uri": uri})
    with workbench.case(f"a read of {uri}"):
        workbench.expect(answer.code == -32602, "an error with code -32602", answer.raw)
