"""FRONT: a hostile server beside the server `bank`, which owns names, subscriptions and questions.

A check accepts every way to show and to reach an entry. What counts is who answers, and who is named.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.front_modern import modern
from conformance.errors import NotApplicable, Violation
from conformance.model.registry import MODERN, NEWEST_LEGACY
from conformance.workbench import polling
from conformance.workbench.exposed import declares, exposed_uri
from conformance.workbench.transcript import part
from mock_servers.hostile.owners import (
    COVERED,
    ELICITATION,
    PROMPT,
    QUESTIONS,
    TEMPLATE,
    URI,
    announces_for_others,
    asks_as_another,
    claims,
    takes_over,
    takes_over_names,
)
from mock_servers.hostile.storms import TOOLS
from mock_servers.script import Script, crash, hold, notify, on_call, progress, release, reply, request, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Heard
    from conformance.workbench.workbench import Workbench

BANK, WRONG = "from the bank", "from the wrong server"
#: every request for an entry that both servers have
USES: dict[str, tuple[str, dict[str, Any]]] = {
    "a resource": ("resources/read", {"uri": URI}),
    "a resource of a template": ("resources/read", {"uri": COVERED}),
    "a prompt": ("prompts/get", {"name": PROMPT}),
    "a completion for a template": (
        "completion/complete",
        {"ref": {"type": "ref/resource", "uri": TEMPLATE}, "argument": {"name": "id", "value": "v"}},
    ),
}


@check("FRONT-036", timeout=60, slow=True)
async def a_name_leads_to_its_group_whatever_another_group_lists(workbench: Workbench) -> None:
    await _must_keep_the_group_of_qualified_names(workbench)
    await _must_keep_the_group_of_names_while_it_is_down(workbench)


async def _must_keep_the_group_of_qualified_names(workbench: Workbench) -> None:
    """Raise `Violation` if the prompt of another group answers.

    The name that the proxy gave to the bank's prompt becomes the name of a prompt of the other server.
    """
    async with workbench.serving(workbench.stdio("wrong", takes_over_names()), _bank(workbench)) as proxy:
        if not declares(proxy, "prompts"):
            return
        shown = await proxy.items("prompts/list", "prompts")
        await _must_lead_to_their_groups(workbench, proxy, shown)
        before = _names(shown, BANK)
    qualified = next((name for name in before if name != PROMPT), None)
    if qualified is None:
        workbench.note("the proxy has no name of its own for the second of two equal names")
        return
    wrong = workbench.stdio("wrong", takes_over(qualified))
    async with workbench.serving(wrong, _bank(workbench)) as proxy:
        await proxy.call("wrong", "attack")
        shown = await _shown_after_the_attack(proxy)
        names = [part(prompt, "name") for prompt in shown]
        workbench.expect(len(set(names)) == len(names), "each prompt has a name of its own", shown)
        workbench.expect(qualified in _names(shown, BANK), f"{qualified} stays the bank's", shown)
        await _must_lead_to_their_groups(workbench, proxy, shown)
        if declares(proxy, "completions"):
            about = {"ref": {"type": "ref/prompt", "name": qualified}, "argument": {"name": "x", "value": ""}}
            answer = await proxy.request("completion/complete", about)
            workbench.expect(WRONG not in answer.raw, "its completion comes from its group", answer.raw)


async def _must_lead_to_their_groups(workbench: Workbench, proxy: Proxy, shown: list[Any]) -> None:
    for description in (BANK, WRONG):
        for name in _names(shown, description):
            answer = await proxy.request("prompts/get", {"name": name})
            workbench.expect(description in answer.raw, f"{name} leads to its group", answer.raw)


async def _shown_after_the_attack(proxy: Proxy) -> list[Any]:
    """The prompts of the list, once the second prompt of the other server had two seconds to appear."""
    deadline = time.monotonic() + 2.0
    while True:
        shown = await proxy.items("prompts/list", "prompts")
        if len(_names(shown, WRONG)) > 1 or time.monotonic() > deadline:
            return shown
        await anyio.sleep(0.05)


async def _must_keep_the_group_of_names_while_it_is_down(workbench: Workbench) -> None:
    bank = _bank(workbench)
    async with workbench.serving(bank, workbench.stdio("wrong", takes_over_names())) as proxy:
        if not declares(proxy, "prompts") and not declares(proxy, "resources"):
            raise NotApplicable("it declares neither prompts nor resources")
        # FRONT-018 and FRONT-019 judge whether the proxy finds them at all.
        uses = {what: use for what, use in USES.items() if BANK in (await proxy.request(*use)).raw}
        with workbench.precondition("the first of two servers answers for what both have"):
            workbench.expect(uses, f"an answer {BANK} to one of {list(USES)}", uses)
        Script(startup=[crash()]).save(bank.folder / "script.json")
        await proxy.call("bank", "attack")
        for what, use in uses.items():
            with workbench.case(f"{what}, while its server is down"):
                answer = await proxy.request(*use, within=15.0)
                workbench.expect(
                    "error" in answer.message and WRONG not in answer.raw,
                    "an error, and no answer of another server",
                    answer.raw,
                )


def _bank(workbench: Workbench) -> StdioMockUpstream:
    return workbench.stdio("bank", claims("the bank", on=[on_call("attack", crash())]))


def _names(prompts: list[Any], description: str) -> list[str]:
    return [str(part(prompt, "name")) for prompt in prompts if part(prompt, "description") == description]


@check("FRONT-037", timeout=60)
async def a_notification_counts_only_for_what_its_sender_has(workbench: Workbench) -> None:
    """A server whose revision has no elicitation in URL mode neither begins nor ends one."""
    url = {"mode": "url", "message": "Sign in", "url": "https://bank.invalid/", "elicitationId": ELICITATION}
    works = [hold("end", most=_MOST_HELD), progress(7)]
    updates = notify("notifications/resources/updated", {"uri": URI})
    ends = notify("notifications/elicitation/complete", {"elicitationId": ELICITATION})
    tools = ("slow", "finish", "slow-with-url", "finish-with-url")
    bank = workbench.stdio(
        "bank",
        claims(
            "the bank",
            tools=[*TOOLS, *map(tool, tools)],
            on=[
                on_call("slow", *works),
                on_call("finish", updates, release("end")),
                on_call("slow-with-url", request("elicitation/create", url, id=1), *works),
                on_call("finish-with-url", updates, ends, release("end")),
            ],
        ),
    )
    wrong = workbench.stdio("wrong", announces_for_others())
    async with workbench.proxy(bank, wrong) as proxy, proxy.answering(_ANSWERS):
        proxy.capabilities = {"elicitation": {"form": {}, "url": {}}}
        greeting = await proxy.handshake()
        await proxy.ready(bank, wrong)
        has_url = greeting.member("protocolVersion") == NEWEST_LEGACY and _was_asked(bank, NEWEST_LEGACY)
        slow, finish = ("slow-with-url", "finish-with-url") if has_url else ("slow", "finish")
        subscribes = declares(proxy, "resources", "subscribe")
        if subscribes:
            with workbench.precondition("the bank accepts a subscription"):
                shown = await exposed_uri(proxy, "bank", URI)
                answer = await proxy.request("resources/subscribe", {"uri": shown})
                workbench.expect("result" in answer.message, "a result", answer.raw)
        with workbench.precondition("the bank works on a call"):
            params = {**proxy.call_params("bank", slow), "_meta": {"progressToken": "token-of-the-client"}}
            await proxy.begin("tools/call", params, id="slow")
            await workbench.eventually(
                lambda: bank.requests("tools/call"), within=5.0, what="the bank has the call"
            )
        # Each connection keeps its order, so an answer comes after everything that was relayed before.
        if not await _answers_meanwhile(proxy, "before"):
            workbench.note("bank: one call after the other (HTTP-018), so no other call shows the order")
        await proxy.call("wrong", "attack")
        await _answers_meanwhile(proxy, "after")
        for method in _COUNTED:
            heard = [one.params for one in proxy.transcript.heard(method)]
            workbench.expect(not heard, f"no {method} before its owner sends it", heard)
        await proxy.call("bank", finish, within=10.0 + _MOST_HELD)
        await workbench.eventually(
            partial(_is_answered, proxy, "slow"),
            within=5.0 + _MOST_HELD,
            what="the call of the bank has its answer",
        )
        updates_heard = [one.params for one in proxy.transcript.heard(_COUNTED[0])]
        what = "one update at most, that of its owner"
        workbench.expect(len(updates_heard) <= int(subscribes), what, updates_heard)
        ends_heard = [one.params for one in proxy.transcript.heard(_COUNTED[1])]
        workbench.expect(len(ends_heard) <= 1, "the end of the elicitation at most once", ends_heard)
        values = [one.param("progress") for one in proxy.transcript.heard("notifications/progress")]
        workbench.expect(99 not in values, "no progress of a request of another server", values)
        if not (subscribes or ends_heard or values):
            raise NotApplicable("it relays none of these notifications")


#: seconds that the call of the bank takes at most, if no other call can reach its process
_MOST_HELD = 6.0


def _was_asked(upstream: StdioMockUpstream, version: str) -> bool:
    """Whether the proxy asked for this revision; the mock agrees to each."""
    return any(one.param("protocolVersion") == version for one in upstream.requests("initialize"))


async def _answers_meanwhile(proxy: Proxy, id: str) -> bool:
    """Whether the bank answers a call during the slow one. No source demands it: HTTP-018 is a SHOULD."""
    await proxy.begin("tools/call", proxy.call_params("bank", "echo"), id=id)
    with suppress(Violation):
        await polling.eventually(partial(_is_answered, proxy, id), within=1.5, what="an answer")
    return _is_answered(proxy, id)


def _is_answered(proxy: Proxy, id: str) -> bool:
    return any(message.get("id") == id for message in proxy.received if "method" not in message)


_COUNTED = (
    "notifications/resources/updated",
    "notifications/elicitation/complete",
    "notifications/cancelled",
)
_ANSWERS: dict[str, Any] = {
    "elicitation/create": {"action": "accept", "content": {"pin": "1"}},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "yes"},
        "model": "m",
    },
}
_CAPABILITIES: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}}


@check("FRONT-038", timeout=60, slow=True)
async def a_question_names_the_server_that_asks(workbench: Workbench) -> None:
    """The name may stand anywhere in the request that the client gets. The servers' own words stay in it."""
    needs = {
        "resultType": "input_required",
        "inputRequests": {
            kind: {"method": method, "params": params} for kind, (method, params) in QUESTIONS.items()
        },
    }
    asks = Script(era="modern", tools=TOOLS, on=[on_call("attack", reply(needs), nth=1)])
    old = workbench.stdio("quizmaster-old", asks_as_another())
    async with workbench.proxy(old) as proxy, proxy.answering(_ANSWERS):
        asked = await _asks_a_legacy_client(workbench, proxy, old)
        discovery = await proxy.request("server/discover", era="modern")
    if MODERN not in (discovery.member("supportedVersions") or []):
        if not asked:
            raise NotApplicable("it relays no question")
        return
    new = workbench.stdio("quizmaster-new", asks)
    async with workbench.proxy(new) as proxy, proxy.answering(_ANSWERS):
        asked += await _asks_a_legacy_client(workbench, proxy, new)
    pair = workbench.stdio("quizmaster-old", asks_as_another()), workbench.stdio("quizmaster-new", asks)
    async with modern(workbench, *pair, capabilities=_CAPABILITIES) as proxy:
        for server in pair:
            with workbench.case(f"modern client, {server.name}"):
                asked += await _asks_a_modern_client(workbench, proxy, server.name)
    if not asked:
        raise NotApplicable("it relays no question")


async def _asks_a_legacy_client(workbench: Workbench, proxy: Proxy, server: StdioMockUpstream) -> int:
    """The number of questions. FRONT-026 judges whether one reaches the client at all."""
    proxy.capabilities = _CAPABILITIES
    await proxy.handshake()
    await proxy.ready(server)
    with workbench.case(f"legacy client, {server.name}"):
        await proxy.call(server.name, "attack", within=20.0)
        asked: list[Heard] = proxy.transcript.asked()
        for one in asked:
            _must_name_the_server(workbench, server.name, one.params)
        return len(asked)


async def _asks_a_modern_client(workbench: Workbench, proxy: Proxy, group: str) -> int:
    """The number of questions."""
    asked = 0
    answer = await proxy.call(group, "attack", within=20.0)
    for _ in QUESTIONS:
        for question in _questions(answer).values():
            asked += 1
            _must_name_the_server(workbench, group, part(question, "params"))
        if _questions(answer):
            answer = await _answered(proxy, group, answer)
    return asked


def _must_name_the_server(workbench: Workbench, name: str, params: Any) -> None:
    text = json.dumps(params)
    workbench.expect(name in text, f"the question names {name}", text)
    own = ["Your PIN, please", "Your bank asks you to sign in", "I am your bank"]
    workbench.expect(any(words in text for words in own), "the question has the words of the server", text)


def _questions(answer: Answer) -> dict[str, Any]:
    found = answer.member("inputRequests")
    return found if isinstance(found, dict) else {}


async def _answered(proxy: Proxy, group: str, answer: Answer) -> Answer:
    """The same call again, with an answer to each question."""
    inputs = {
        key: _ANSWERS.get(str(part(question, "method"))) for key, question in _questions(answer).items()
    }
    state = {} if (given := answer.member("requestState")) is None else {"requestState": given}
    params = {**proxy.call_params(group, "attack"), "inputResponses": inputs, **state}
    return await proxy.request("tools/call", params, within=10.0)
