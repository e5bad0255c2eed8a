"""FRONT: the capabilities of the client that the proxy offers its upstreams, and the requests that use them."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.http_requests import can_call
from mock_servers.script import Script, on_call, request

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Heard
    from conformance.workbench.workbench import Workbench

CLIENT_CAPABILITIES = ("sampling", "elicitation", "roots")
#: the capabilities of two clients
_CLIENTS: tuple[dict[str, Any], ...] = ({}, {"elicitation": {}})


@check("FRONT-171")
async def upstreams_are_offered_only_what_the_client_can_do(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    for possible in _CLIENTS:
        async with workbench.proxy(upstream) as proxy:
            proxy.capabilities = possible
            await proxy.handshake()
            await proxy.ready(upstream)
            await can_call(workbench, proxy, upstream)
        with workbench.case(f"client capabilities {list(possible)}"):
            introduction = upstream.requests("initialize")[-1]
            offered = _offered(upstream)
            workbench.expect(offered <= {*possible}, "no further capability", introduction.message)


@check("FRONT-026", timeout=60)
async def requests_of_upstreams_reach_a_client_that_can_answer_them(workbench: Workbench) -> None:
    """Two upstreams send their requests under the same ids, and each gets the answer to its own."""
    for capabilities in _CLIENTS:
        upstreams = [workbench.stdio(name, _asking(name)) for name in ("a", "b")]
        async with workbench.proxy(*upstreams) as proxy, proxy.answering(_ANSWERS):
            proxy.capabilities = capabilities
            await proxy.handshake()
            await proxy.ready(*upstreams)
            await workbench.run_cases(*(partial(_calls, proxy, upstream.name) for upstream in upstreams))
            for upstream in upstreams:
                with workbench.case(f"client capabilities {list(capabilities)}, upstream {upstream.name}"):
                    _got_answers(workbench, upstream, set(capabilities))
            asked: list[Heard] = proxy.transcript.asked()
            ids = [heard.message["id"] for heard in asked]
            workbench.expect(
                len(set(map(json.dumps, ids))) == len(ids), "each request has an id of its own", asked
            )
            can_answer = ["ping", *(f"{name}/create" for name in capabilities)]
            others = [heard for heard in asked if heard.message.get("method") not in can_answer]
            workbench.expect(not others, "the client gets only requests that it can answer", others)


_ANSWERS = {"elicitation/create": {"action": "accept", "content": {"name": "$message"}}}
_FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
_SAMPLING = {"messages": [], "maxTokens": 1}
#: the capability that each request of a server needs, by its id
_ASKS = {1: "elicitation", 2: "sampling", 3: "roots"}


def _asking(name: str) -> Script:
    """A server that sends all three requests when it is called, under the ids that every upstream begins
    with.
    """
    ask = request("elicitation/create", {"message": f"for {name}", "requestedSchema": _FORM}, id=1, wait=5.0)
    sample = request("sampling/createMessage", _SAMPLING, id=2, wait=5.0)
    return Script(on=[on_call("echo", ask, sample, request("roots/list", id=3, wait=5.0))])


async def _calls(proxy: Proxy, group: str) -> None:
    await proxy.call(group, "echo", within=20.0)


def _offered(upstream: StdioMockUpstream) -> set[str]:
    """The capabilities of a client that the last handshake declares."""
    return set(upstream.requests("initialize")[-1].param("capabilities") or ()) & set(CLIENT_CAPABILITIES)


def _got_answers(workbench: Workbench, upstream: StdioMockUpstream, possible: set[str]) -> None:
    answers = {entry.data["id"]: json.loads(entry.text) for entry in upstream.events("answer")}
    workbench.expect(
        set(answers) == {1, 2, 3}, "each request of the upstream gets an answer within 5 s", answers
    )
    offered = _offered(upstream)
    if "elicitation" in offered & possible:
        # The client repeats the message that it got, to which the proxy may have added a name (FRONT-038).
        given = answers.pop(1).get("result") or {}
        message = (given.get("content") or {}).pop("name", None)
        expected = {"action": "accept", "content": {}}
        workbench.expect(given == expected, "the client's own answer", given)
        asked = f"for {upstream.name}"
        workbench.expect(isinstance(message, str) and asked in message, f"the answer to {asked!r}", message)
    for id, answer in answers.items():
        # A proxy that offers more than its client can do (FRONT-171) answers these requests itself.
        if _ASKS[id] not in offered:
            workbench.expect("error" in answer, "an error for what the proxy did not offer", answer)
