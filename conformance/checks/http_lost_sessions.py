"""HTTP: what follows when a server has forgotten the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import SESSION, SESSIONS, must_be_callable, must_be_echoed
from conformance.errors import NotApplicable, Violation
from conformance.workbench.exposed import declares, exposed_uri, needs
from mock_servers.actions import reply
from mock_servers.remote_actions import expire_session
from mock_servers.script import Rule, Script, on_call
from mock_servers.script import request as ask

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest


ELICIT = "elicitation/create"
_NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}}
#: the most calls of HTTP-009 after the one that makes the upstream forget: a pool fills its places, and then uses each again
_CALLS_AFTER = 12
_URI = "mock://one"


@check("HTTP-009", timeout=60)
async def a_404_for_the_session_leads_to_a_new_session(workbench: Workbench) -> None:
    """The proxy may have several sessions. The upstream forgets the one of the first call."""
    forgetting = [on_call("add", expire_session())]
    upstream = await workbench.http("a", Script(http=SESSIONS, on=forgetting))
    resources = [{"uri": _URI, "name": "one"}]
    of_reads = await workbench.http("b", Script(http=SESSIONS, resources=resources, on=forgetting))
    async with workbench.serving(upstream, of_reads) as proxy:
        await _lose_the_session(workbench, proxy, upstream)
        failed = 0
        for number in range(_CALLS_AFTER):
            result = await proxy.call("a", "echo", {"x": number}, within=10.0)
            failed += result.is_error
            # The call in question may fail, or go into the new session.
            workbench.expect(
                failed <= len(_refused(upstream)), "each call without a 404 succeeds", result.raw
            )
            if not result.is_error and _call_in_a_new_session(upstream):
                break
        if declares(proxy, "resources"):
            await _must_read_in_a_new_session(workbench, proxy, of_reads)
    first = upstream.posts("tools/call")[0]
    forgotten = first.header(SESSION)
    if not any(one.header(SESSION) == forgotten for one in upstream.http if one.t > first.t):
        raise NotApplicable(
            "no request carries the id that the upstream has forgotten: it has other sessions"
        )
    refused = _refused(upstream)
    workbench.expect(refused, "the upstream answers 404 to a request of the old session", upstream.verbs)
    lost = {request.header(SESSION): request for request in reversed(refused)}
    later = [call for call in upstream.posts("tools/call") if call.t > lost.get(call.header(SESSION), call).t]
    workbench.expect(not later, "no call with an id after the 404 to it", later)
    begun = [request for request in upstream.posts("initialize") if request.t > refused[0].t]
    # A session for each call is allowed here, too.
    calls = [call for call in upstream.posts("tools/call") if call.t >= refused[0].t]
    most = max(len(refused), len(calls))
    workbench.expect(1 <= len(begun) <= most, f"1 to {most} new initialize after the 404", begun)
    workbench.expect(begun[0].header(SESSION) is None, "initialize without the old id", begun[0])
    workbench.expect(
        _call_in_a_new_session(upstream), "a call in the new session", upstream.posts("tools/call")[-1]
    )


async def _lose_the_session(workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream) -> None:
    forgets = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
    with workbench.precondition("the call that makes the upstream forget"):
        workbench.expect(not forgets.is_error, "it succeeds", forgets.raw)


async def _must_read_in_a_new_session(
    workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream
) -> None:
    """The first request after the loss is a read. It may fail, and so may further ones, each in another old session."""
    uri = await exposed_uri(proxy, upstream.name, _URI)
    await _lose_the_session(workbench, proxy, upstream)
    for number in range(1, _CALLS_AFTER + 1):
        answer = await proxy.request("resources/read", {"uri": uri}, within=10.0)
        if "result" in answer.message:
            return
        workbench.expect(number <= len(_refused(upstream)), "each read without a 404 succeeds", answer.raw)
    workbench.expect(False, f"one of {_CALLS_AFTER} reads after the loss of the session succeeds", answer.raw)


def _refused(upstream: RemoteMockUpstream) -> list[HttpRequest]:
    return [request for request in upstream.http if request.status == 404]


def _call_in_a_new_session(upstream: RemoteMockUpstream) -> HttpRequest | None:
    """A call that succeeded in a session that began after a 404."""
    given = {
        entry.data["n"]: dict(entry.data["headers"]).get(SESSION)
        for entry in upstream.events("http-response")
    }
    refused = _refused(upstream)
    begun = [given.get(one.n) for one in upstream.posts("initialize") if refused and one.t > refused[0].t]
    calls = (call for call in upstream.posts("tools/call") if call.status == 200)
    return next((call for call in calls if call.header(SESSION) in begun), None)


@check("HTTP-071", timeout=40)
async def a_new_session_has_the_subscriptions_of_the_lost_one(workbench: Workbench) -> None:
    about = {"uri": "x://one"}
    script = Script(
        http=SESSIONS,
        resources=[{**about, "name": "one"}],
        capabilities={"tools": {}, "resources": {"subscribe": True}},
        on=[Rule("resources/subscribe", [reply({})]), on_call("add", expire_session())],
    )
    upstream = await workbench.http("a", script)
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        needs(proxy, "resources", "subscribe")
        uri = await exposed_uri(proxy, upstream.name, about["uri"])
        with workbench.precondition("the subscription"):
            answer = await proxy.request("resources/subscribe", {"uri": uri})
            workbench.expect("result" in answer.message, "it succeeds", answer.raw)
            workbench.expect(upstream.posts("resources/subscribe"), "it reaches the upstream", upstream.verbs)
        lost = upstream.sessions
        await proxy.call("a", "add", {"a": 1, "b": 2})
        await proxy.call("a", "echo", {"x": 1})  # may fail, or go into the new session
        await must_be_echoed(workbench, proxy, "a", {"x": 2})

        def subscribed_again() -> bool:
            again = [
                post for post in upstream.posts("resources/subscribe") if post.header(SESSION) not in lost
            ]
            return about["uri"] in [post.message["params"]["uri"] for post in again]

        await workbench.eventually(
            subscribed_again, within=5.0, what="resources/subscribe in the new session within 5 s"
        )


@check("HTTP-072", timeout=40, slow=True)
async def an_answer_reaches_only_the_session_that_asked(workbench: Workbench) -> None:
    """The answer to the old question is sent also if the proxy withdrew it, because the two can cross."""
    asking, asking_otherwise = {"x": "ask"}, {"x": "ask with another id"}
    form = {"message": "Well?", "requestedSchema": _NUMBER}
    script = Script(
        http=SESSIONS,
        on=[
            on_call("echo", ask(ELICIT, form, id=0, wait=3.0), params={"arguments": asking}),
            on_call("echo", ask(ELICIT, form, id=7, wait=3.0), params={"arguments": asking_otherwise}),
            on_call("add", expire_session()),
        ],
    )
    upstream = await workbench.http("a", script)
    async with workbench.proxy(upstream) as proxy:
        proxy.capabilities = {"elicitation": {}}
        await proxy.handshake()
        await proxy.ready(upstream)
        await must_be_callable(workbench, proxy, upstream)
        await proxy.begin_call("a", "echo", asking)
        old = await _question(workbench, proxy, 1)
        if old is None:
            await proxy.begin_call("a", "echo", asking_otherwise)
            other = await _question(workbench, proxy, 1)
            workbench.expect(other is None, "a question with id 0 comes like one with id 7", other)
            raise NotApplicable("it passes no question on")
        await proxy.call("a", "add", {"a": 1, "b": 2})
        await proxy.call("a", "echo", {"x": 1})  # may fail, or go into the new session
        await must_be_echoed(workbench, proxy, "a", {"x": 2})
        await proxy.send({"id": old["id"], "result": {"action": "accept", "content": {"n": 1}}})
        await proxy.begin_call("a", "echo", asking)
        new = await _question(workbench, proxy, 2)
        workbench.expect(new, "the question of the new session reaches the client", proxy.received)
        assert new is not None
        await proxy.send({"id": new["id"], "result": {"action": "accept", "content": {"n": 2}}})
        session = [
            post for post in upstream.posts("tools/call") if post.message["params"]["arguments"] == asking
        ][-1]
        answers = await workbench.eventually(
            lambda: [post for post in upstream.posts() if _answers_in(post, session.header(SESSION))],
            within=5.0,
            what="an answer in the new session",
        )
        given = [post.message.get("result", {}).get("content") for post in answers]
        workbench.expect(
            given == [{"n": 2}], "the new session gets the answer to its own question only", given
        )


def _answers_in(post: HttpRequest, session: str | None) -> bool:
    """Whether this POST answers a question in this session."""
    return "method" not in post.message and post.header(SESSION) == session


async def _question(workbench: Workbench, proxy: Proxy, number: int) -> dict[str, Any] | None:
    """The question with this number; None if it does not come."""
    try:
        found = await workbench.eventually(
            lambda: [one for one in proxy.received if one.get("method") == ELICIT][number - 1 :],
            within=3.0,
            what="a question to the user",
        )
    except Violation:
        return None
    return found[0]
