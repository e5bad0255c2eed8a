"""FRONT: the capabilities of the client that the proxy offers its upstreams, and the requests that use them."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import SESSIONS, must_be_callable
from conformance.errors import NotApplicable
from conformance.workbench.mocks import StdioMockUpstream
from conformance.workbench.remotes import RemoteMockUpstream
from conformance.workbench.transcript import part
from mock_servers.script import Script, on_call, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.workbench.mocks import MockUpstream
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
            await must_be_callable(workbench, proxy, upstream)
        with workbench.case(f"client capabilities {list(possible)}"):
            introduction = upstream.requests("initialize")[-1]
            offered = offered_capabilities(upstream)
            workbench.expect(offered <= {*possible}, "no further capability", introduction.message)


@check("FRONT-026", timeout=60)
async def requests_of_upstreams_reach_a_client_that_can_answer_them(workbench: Workbench) -> None:
    """Two upstreams send their requests under the same ids, and each gets the answer to its own."""
    if workbench.sut.profile.relay:
        await _must_be_passed_on(workbench)
        return
    for capabilities in _ANSWERING_CLIENTS:
        upstreams = [workbench.stdio(name, _asking(name)) for name in ("a", "b")]
        async with workbench.proxy(*upstreams) as proxy:
            proxy.capabilities = capabilities
            await proxy.handshake()
            await proxy.ready(*upstreams)
            async with proxy.answering(_ANSWERS):
                await workbench.run_cases(*(partial(_calls, proxy, one.name, "echo") for one in upstreams))
            async with proxy.answering({"elicitation/create": _DECLINED}):
                await _calls(proxy, "a", "add")
            asked: list[Heard] = proxy.transcript.asked()
            for upstream in upstreams:
                with workbench.case(f"client capabilities {list(capabilities)}, upstream {upstream.name}"):
                    _must_have_got_answers(workbench, upstream, set(capabilities), asked)
            ids = [heard.message["id"] for heard in asked]
            workbench.expect(
                len(set(map(json.dumps, ids))) == len(ids), "each request has an id of its own", asked
            )
            can_answer = ["ping", *(_METHODS[name] for name in capabilities)]
            others = [heard for heard in asked if heard.message.get("method") not in can_answer]
            workbench.expect(not others, "the client gets only requests that it can answer", others)


async def _must_be_passed_on(workbench: Workbench) -> None:
    """Raise `Violation` unless each request of the server reaches the client.

    A relay leaves it to the client and the server which requests they can use.
    """
    upstream = workbench.stdio("a", _asking("a"))
    async with workbench.proxy(upstream) as proxy:
        proxy.capabilities = {name: {} for name in CLIENT_CAPABILITIES}
        await proxy.handshake()
        await proxy.ready(upstream)
        async with proxy.answering(_ANSWERS):
            await _calls(proxy, "a", "echo")
        async with proxy.answering({"elicitation/create": _DECLINED}):
            await _calls(proxy, "a", "add")
        offered, asked = offered_capabilities(upstream), proxy.transcript.asked()
        workbench.expect(offered == {*CLIENT_CAPABILITIES}, "the server sees what the client can do", offered)
        methods = sorted(str(heard.message.get("method")) for heard in asked)
        wanted = sorted(_METHODS[name] for name in _ASKS.values())
        workbench.expect(methods == wanted, f"the client gets {wanted}", methods)
        _must_have_got_answers(workbench, upstream, offered, asked)


_ANSWERING_CLIENTS: tuple[dict[str, Any], ...] = ({"sampling": {}, "roots": {}}, {"elicitation": {}})
_METHODS = {"elicitation": "elicitation/create", "sampling": "sampling/createMessage", "roots": "roots/list"}
#: the capability that each request of a server needs, by its id; a server asks with the last id in a call of its own
_ASKS = {1: "elicitation", 2: "sampling", 3: "roots", 4: "elicitation"}
_ANSWERS: dict[str, dict[str, Any]] = {
    "elicitation/create": {"action": "accept", "content": {"name": "$message", "age": 7}},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "yes"},
        "model": "model-of-the-client",
        "stopReason": "maxTokens",
    },
    "roots/list": {"roots": [{"uri": "file:///project", "name": "The project"}]},
}
_DECLINED = {"action": "decline"}
_FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "description": "In full", "maxLength": 300},
        "age": {"type": "integer", "minimum": 0},
    },
    "required": ["name"],
}


def _questions(name: str) -> dict[str, dict[str, Any]]:
    """The parameters of the requests of an upstream, by method."""
    return {
        "elicitation/create": {"message": f"for {name}", "requestedSchema": _FORM},
        "sampling/createMessage": {
            "messages": [{"role": "user", "content": {"type": "text", "text": f"yes or no, for {name}"}}],
            "maxTokens": 7,
            "systemPrompt": f"for {name}",
            "modelPreferences": {"hints": [{"name": "small"}], "speedPriority": 0.5},
            "temperature": 0.25,
            "stopSequences": ["."],
        },
    }


def _asking(name: str) -> Script:
    """A server that sends all three requests when it is called, under the ids that every upstream begins
    with.
    """
    questions = _questions(name)
    first = [
        request(_METHODS[_ASKS[id]], questions.get(_METHODS[_ASKS[id]]), id=id, wait=5.0) for id in (1, 2, 3)
    ]
    again = request("elicitation/create", questions["elicitation/create"], id=4, wait=5.0)
    return Script(on=[on_call("echo", *first), on_call("add", again)])


async def _calls(proxy: Proxy, group: str, name: str) -> None:
    await proxy.call(group, name, {"a": 1, "b": 2} if name == "add" else None, within=20.0)


def offered_capabilities(upstream: StdioMockUpstream) -> set[str]:
    """The capabilities of a client that the last handshake declares."""
    return set(upstream.requests("initialize")[-1].param("capabilities") or ()) & set(CLIENT_CAPABILITIES)


def _must_have_got_answers(
    workbench: Workbench, upstream: StdioMockUpstream, possible: set[str], asked: list[Heard]
) -> None:
    answers = {entry.data["id"]: json.loads(entry.text) for entry in upstream.events("answer")}
    wanted = {1, 2, 3, 4} if upstream.name == "a" else {1, 2, 3}
    workbench.expect(
        set(answers) == wanted, "each request of the upstream gets an answer within 5 s", answers
    )
    offered = offered_capabilities(upstream)
    if "elicitation" in offered & possible:
        # The client repeats the message that it got, to which the proxy may have added a name (FRONT-038).
        given = answers.pop(1).get("result") or {}
        message = (given.get("content") or {}).pop("name", None)
        expected = {"action": "accept", "content": {"age": 7}}
        workbench.expect(given == expected, "the client's own answer", given)
        words = f"for {upstream.name}"
        workbench.expect(isinstance(message, str) and words in message, f"the answer to {words!r}", message)
        if upstream.name == "a":
            declined = answers.pop(4).get("result") or {}
            workbench.expect(declined.get("action") == "decline", "the client's own answer", declined)
    for id, answer in answers.items():
        # A proxy that offers more than its client can do (FRONT-171) answers these requests itself.
        if _ASKS[id] not in offered:
            workbench.expect("error" in answer, "an error for what the proxy did not offer", answer)
    for method, sent in _questions(upstream.name).items():
        got = [heard.message.get("params") for heard in asked if heard.message.get("method") == method]
        own = [params for params in got if f"for {upstream.name}" in json.dumps(params)]
        workbench.expect(
            all(carries(one, sent) for one in own), f"{method} as the upstream sent it: {sent}", own
        )
    for id in {2, 3} & answers.keys():
        method = _METHODS[_ASKS[id]]
        # The proxy may answer by itself what it offered.
        if any(heard.message.get("method") == method for heard in asked):
            told = answers[id].get("result")
            workbench.expect(carries(told, _ANSWERS[method]), "the client's own answer", answers[id])


def carries(relayed: Any, sent: Any) -> bool:
    """Whether nothing of what one side sent is lost on the way. The proxy may add members, entries and words (FRONT-038)."""
    if isinstance(sent, dict):
        return isinstance(relayed, dict) and all(
            name in relayed and carries(relayed[name], one) for name, one in sent.items()
        )
    if isinstance(sent, list):
        rest: Iterator[Any] = iter(relayed if isinstance(relayed, list) else ())
        return all(any(carries(other, one) for other in rest) for one in sent)
    if isinstance(sent, str):
        return isinstance(relayed, str) and sent in relayed
    return bool(relayed == sent)


ROOTS_CHANGED = "notifications/roots/list_changed"


@check("FRONT-179", timeout=60, slow=True)
async def servers_hear_that_the_roots_of_the_client_have_changed(workbench: Workbench) -> None:
    ask = request("roots/list", wait=5.0)
    upstream = workbench.stdio("a", Script(on=[on_call("echo", ask)]))
    async with workbench.proxy(upstream) as proxy:
        proxy.capabilities = {"roots": {"listChanged": True}}
        await proxy.handshake()
        await proxy.ready(upstream)
        introduction = upstream.requests("initialize")[-1]
        if not part(introduction.params, "capabilities", "roots", "listChanged"):
            await must_be_callable(workbench, proxy, upstream)
            raise NotApplicable("it does not offer its servers `roots.listChanged`")
        async with proxy.answering({"roots/list": _roots("before")}):
            await _calls(proxy, "a", "echo")
        if not carries(_last_answer(upstream), _roots("before")):
            raise NotApplicable("it tells its server other roots than those of its client")
        async with proxy.answering({"roots/list": _roots("after")}):
            await proxy.notify("notifications/roots/list_changed")
            process = upstream.requests("tools/call")[0].pid
            await workbench.eventually(
                # A process that is gone needs no notification: the next one asks anew.
                lambda: upstream.requests(ROOTS_CHANGED) or process not in upstream.alive,
                within=2.0,
                what="the server hears within 2 s that the roots have changed",
            )
            await _calls(proxy, "a", "echo")
        told = _last_answer(upstream)
        workbench.expect(carries(told, _roots("after")), "the new roots of the client", told)
    if workbench.sut.profile.upstreams != "one":
        await _each_server_hears(workbench)


async def _each_server_hears(workbench: Workbench) -> None:
    children = [workbench.stdio("b"), workbench.stdio("c")]
    remotes = [await workbench.http("d", Script(http=SESSIONS))] if workbench.has("HTTP") else []
    async with workbench.proxy(*children, *remotes) as proxy:
        proxy.capabilities = {"roots": {"listChanged": True}}
        await proxy.handshake()
        await proxy.ready(*children, *remotes)
        for upstream in (*children, *remotes):
            await must_be_callable(workbench, proxy, upstream)
        await proxy.notify(ROOTS_CHANGED)
        for upstream in (*children, *remotes):
            if part(upstream.requests("initialize")[-1].params, "capabilities", "roots", "listChanged"):
                what = f"the server {upstream.name} hears within 2 s that the roots have changed"
                await workbench.eventually(partial(_has_heard_or_ended, upstream), within=2.0, what=what)


def _has_heard_or_ended(upstream: MockUpstream) -> bool:
    """Whether the server heard that the roots have changed. A process or a session that has ended needs no notification."""
    if upstream.requests(ROOTS_CHANGED):
        return True
    if isinstance(upstream, RemoteMockUpstream):
        return upstream.verbs["DELETE"] > 0
    return isinstance(upstream, StdioMockUpstream) and not upstream.alive


def _roots(folder: str) -> dict[str, Any]:
    return {"roots": [{"uri": f"file:///{folder}", "name": f"The folder {folder}"}]}


def _last_answer(upstream: StdioMockUpstream) -> Any:
    answers = upstream.events("answer")
    return json.loads(answers[-1].text).get("result") if answers else None
