"""FRONT: cancellations beside those of calls: a server takes its question back, and a client any other request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.front_cancellations import CANCELLED, must_have_no_result
from conformance.checks.front_offers import offered_capabilities
from conformance.errors import NotApplicable
from conformance.workbench.exposed import requests_of_each_kind
from mock_servers.script import Rule, Script, notify, on_call, reply, request, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

_SAMPLING: dict[str, Any] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "yes or no"}}],
    "maxTokens": 7,
}
_ID_OF_THE_QUESTION = 71


@check("FRONT-178", timeout=30)
async def a_question_that_a_server_takes_back_ends_at_the_client(workbench: Workbench) -> None:
    """The call goes on for three seconds, so its end is not what cancels the question."""
    taken_back = {"requestId": _ID_OF_THE_QUESTION, "reason": "the server found the answer"}
    question = request("sampling/createMessage", _SAMPLING, id=_ID_OF_THE_QUESTION, wait=1.5)
    work = [question, notify(CANCELLED, taken_back), sleep(3.0), reply()]
    upstream = workbench.stdio("a", Script(on=[on_call("echo", *work)]))
    async with workbench.proxy(upstream) as proxy:
        proxy.capabilities = {"sampling": {}}
        await proxy.handshake()
        await proxy.ready(upstream)
        if "sampling" not in offered_capabilities(upstream):
            await must_be_callable(workbench, proxy, upstream)
            raise NotApplicable("it offers its server no sampling")
        await proxy.begin("tools/call", proxy.call_params("a", "echo"), id="a-call-with-a-question")
        await workbench.eventually(
            lambda: [entry for entry in upstream.events("sent") if CANCELLED in entry.text],
            within=5.0,
            what="the server takes its question back",
        )
        asked = proxy.transcript.asked("sampling/createMessage")
        if not asked and upstream.events("answer"):
            raise NotApplicable("it answers the question of its server itself")
        with workbench.precondition("the question reaches the client"):
            id = workbench.one(asked, "the client has it once").message["id"]
        told = await workbench.eventually(
            lambda: proxy.transcript.heard(CANCELLED),
            within=2.0,
            what="the client hears of the cancellation within 2 s",
        )
        workbench.expect([one.param("requestId") for one in told] == [id], f"under the id {id!r}", told)


@check("FRONT-180", timeout=40)
async def the_cancellation_of_a_read_or_of_a_prompt_reaches_the_upstream(workbench: Workbench) -> None:
    script = Script(
        resources=[{"uri": "mock://one", "name": "one"}],
        prompts=[{"name": "greet"}],
        on=[Rule(method, [sleep(4.0)], times=1) for method in ("resources/read", "prompts/get")],
    )
    upstream = workbench.stdio("a", script)
    async with workbench.serving(upstream) as proxy:
        requests = await requests_of_each_kind(proxy, "a")
        del requests["tools/call"]
        if not requests:
            await must_be_callable(workbench, proxy, upstream)
            raise NotApplicable("it declares neither resources nor prompts")
        for method, params in requests.items():
            with workbench.case(method):
                await _must_be_cancelled(workbench, proxy, upstream, method, params)


async def _must_be_cancelled(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, method: str, params: dict[str, Any]
) -> None:
    id = f"cancelled-{method}"
    before = len(upstream.requests(CANCELLED))
    await proxy.begin(method, params, id=id)
    with workbench.precondition("the request reaches the upstream"):
        sent = await workbench.eventually(
            lambda: upstream.requests(method), within=5.0, what="the upstream has the request"
        )
        request_id = workbench.one(sent, "the upstream has it once").id
    await proxy.notify(CANCELLED, {"requestId": id})
    told = await workbench.eventually(
        lambda: upstream.requests(CANCELLED)[before:],
        within=2.0,
        what="the cancellation reaches the upstream within 2 s",
    )
    ids = [one.param("requestId") for one in told]
    workbench.expect(ids == [request_id], f"one cancellation, under the id {request_id!r}", ids)
    following = await proxy.request(method, params)
    workbench.expect("result" in following.message, "the next request of this kind works", following.raw)
    answers = [heard.message for heard in proxy.transcript.heard() if heard.message.get("id") == id]
    must_have_no_result(workbench, answers)
