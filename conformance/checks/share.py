"""SHARE: what belongs to one client of a program does not reach another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.errors import NotApplicable, Violation
from conformance.workbench.several_clients import clients_of_one_program
from mock_servers.script import Rule, Script, hold, notify, on_call, progress, release, reply, request

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import Request

ELICIT = "elicitation/create"
PROGRESS = "notifications/progress"
UPDATED = "notifications/resources/updated"
LOGGED = "notifications/message"
URI = "share://thing"
CAN_BE_ASKED: dict[str, Any] = {"elicitation": {}}
#: seconds after which a message that has not come counts as kept from a client
QUIET = 0.5
#: seconds after which a held call ends by itself: what ends it earlier may be in another process, or wait behind this call
_HELD = 6.0
#: seconds for an answer that waits until two held calls have ended by themselves
_PATIENCE = 2 * _HELD + 5.0
#: seconds after which a call that has not reached its server waits behind another one in the proxy
_ARRIVES = 3.0


def with_argument(**arguments: Any) -> Json:
    """The params of a rule for calls with these arguments."""
    return {"arguments": arguments}


def answers(proxy: Proxy, id: object) -> list[Json]:
    """The answers to a request of `begin` that have come."""
    return [message for message in proxy.received if message.get("id") == id and "method" not in message]


async def answer_to(
    workbench: Workbench, proxy: Proxy, id: object, what: str, within: float = _PATIENCE
) -> Json:
    """The answer to a request of `begin`, once it has come."""
    found = await workbench.eventually(lambda: answers(proxy, id), within=within, what=what)
    return found[0]


def must_be_right(workbench: Workbench, answer: Json, what: str) -> None:
    """Raise `Violation` unless the answer is the result of a call that succeeded."""
    is_right = isinstance(answer.get("result"), dict) and not answer["result"].get("isError")
    workbench.expect(is_right, f"{what} succeeds", answer)


@check("SHARE-002", timeout=60)
async def progress_goes_to_the_client_of_the_call(workbench: Workbench) -> None:
    """Both clients use the same id and the same token. Each one ends the wait of its own call, which may be in a process of its own."""
    values = {"first": (1, 2), "second": (11, 12)}
    rules = [
        on_call(
            "echo", hold(word, _HELD), *map(progress, values[word]), reply(), params=with_argument(x=word)
        )
        for word in values
    ]
    rules += [
        on_call("echo", release(word), reply(), params=with_argument(x=f"release {word}")) for word in values
    ]
    upstream = workbench.stdio("a", Script(on=rules))
    async with clients_of_one_program(workbench, upstream) as (first, second):
        clients = {"first": first, "second": second}
        for word, client in clients.items():
            params = {**client.call_params("a", "echo", {"x": word}), "_meta": {"progressToken": "same"}}
            await client.begin("tools/call", params, id="same")
            await reaches_or_waits(workbench, upstream, word)
        for word, client in clients.items():
            await client.call("a", "echo", {"x": f"release {word}"}, within=_PATIENCE)
        for client in (first, second):
            must_be_right(workbench, await answer_to(workbench, client, "same", "an answer"), "the call")
        heard = {
            name: [one.param("progress") for one in client.transcript.heard(PROGRESS)]
            for name, client in clients.items()
        }
        if not any(heard.values()):
            raise NotApplicable("it relays no progress")
        for name, reports in heard.items():
            workbench.expect(
                reports and set(reports) <= {*values[name]},
                f"some of {values[name]} for the {name}, and no others",
                heard,
            )


@check("SHARE-003", timeout=90)
async def a_client_cancels_its_own_requests_only(workbench: Workbench) -> None:
    """Both clients have a call with the same id, and each one in turn cancels its own."""
    rules = []
    for number in (1, 2):
        go = f"go {number}"
        rules += [
            on_call("echo", hold(go, _HELD), reply(), params=with_argument(x=f"stays {number}")),
            on_call("echo", hold("never", _HELD), reply(), params=with_argument(x=f"goes {number}")),
            on_call("echo", release(go), reply(), params=with_argument(x=f"release {number}")),
        ]
    upstream = workbench.stdio("a", Script(on=rules))
    async with clients_of_one_program(workbench, upstream) as (first, second):
        with workbench.case("the second client cancels"):
            await _one_cancels(workbench, upstream, second, other=first, number=1)
        with workbench.case("the first client cancels"):
            await _one_cancels(workbench, upstream, first, other=second, number=2)


async def _one_cancels(
    workbench: Workbench, upstream: MockUpstream, cancelling: Proxy, *, other: Proxy, number: int
) -> None:
    """Whether the cancelled call itself ends is another matter (FRONT-024)."""
    stays = f"stays {number}"
    for client, word in ((other, stays), (cancelling, f"goes {number}")):
        await client.begin("tools/call", client.call_params("a", "echo", {"x": word}), id=number)
        await reaches_or_waits(workbench, upstream, word)
    await cancelling.notify("notifications/cancelled", {"requestId": number})
    await workbench.holds_for(QUIET, lambda: _goes_on(workbench, other, number))
    further = await cancelling.call("a", "echo", {"x": 1}, within=_PATIENCE)
    must_be_right(workbench, further.message, "a further call")
    await other.call("a", "echo", {"x": f"release {number}"}, within=_PATIENCE)
    answer = await answer_to(workbench, other, number, "the other client has its answer")
    must_be_right(workbench, answer, "the call")
    foreign = [one for one in answers(cancelling, number) if stays in str(one)]
    workbench.expect(not foreign, "no answer of the other client for the cancelled call", foreign)


def _goes_on(workbench: Workbench, proxy: Proxy, id: object) -> None:
    """The call has no answer yet, or its result, because a held call ends by itself."""
    for answer in answers(proxy, id):
        must_be_right(workbench, answer, "the call of the other client goes on, so it")


async def reaches_or_waits(workbench: Workbench, upstream: MockUpstream, word: str) -> None:
    """Wait until the call is at the upstream, or waits in the proxy: one call of a server at a time is allowed (HTTP-018)."""
    what = f"the call with {word!r} reaches the upstream"
    try:
        await workbench.eventually(lambda: _with_word(upstream, word), within=_ARRIVES, what=what)
    except Violation as problem:
        if not upstream.requests("tools/call"):
            raise
        workbench.note(f"{problem.expected}: not within {_ARRIVES:g} s, so it waits behind another call")


def _with_word(upstream: MockUpstream, word: str) -> list[Request]:
    return [one for one in upstream.requests("tools/call") if f'"{word}"' in one.text]


@check("SHARE-004", timeout=60)
async def a_question_goes_to_the_client_whose_call_it_is(workbench: Workbench) -> None:
    """If several clients have calls at a server on stdio, its question does not name the call. The proxy may then refuse the question."""
    form = {"message": "Well?", "requestedSchema": {"type": "object", "properties": {}}}
    ask = [request(ELICIT, form, wait=5.0), reply()]
    upstream = workbench.stdio(
        "a",
        Script(
            on=[
                on_call("echo", *ask, params=with_argument(x="asks")),
                on_call("echo", hold("go", _HELD), reply(), params=with_argument(x="waits")),
                on_call("echo", release("go"), reply(), params=with_argument(x="release")),
            ]
        ),
    )
    async with clients_of_one_program(workbench, upstream, capabilities=CAN_BE_ASKED) as (first, second):
        asked = {}
        for name, asker, other in (("first", first, second), ("second", second, first)):
            with workbench.case(f"the {name} client has a call"):
                asked[name] = await _question(workbench, upstream, asker, other)
        if not any(asked.values()):
            raise NotApplicable("it passes no question on")
        workbench.expect(all(asked.values()), "each client gets the question of its own call", asked)
        with workbench.case("both clients have calls"):
            await first.begin("tools/call", first.call_params("a", "echo", {"x": "waits"}), id="waits")
            await reaches_or_waits(workbench, upstream, "waits")
            await _question(workbench, upstream, second, first)
            await first.call("a", "echo", {"x": "release"}, within=_PATIENCE)
            must_be_right(
                workbench, await answer_to(workbench, first, "waits", "an answer"), "the call that waits"
            )


async def _question(workbench: Workbench, upstream: MockUpstream, asker: Proxy, other: Proxy) -> bool:
    """Call a tool that asks; whether the question came. It must not come to the other client, and the server must get an answer."""
    before = {client: len(_questions(client)) for client in (asker, other)}
    settled = len(upstream.events("answer"))
    id = f"asks-{settled}"
    await asker.begin("tools/call", asker.call_params("a", "echo", {"x": "asks"}), id=id)
    await workbench.eventually(
        lambda: (
            len(_questions(asker)) > before[asker]
            or len(upstream.events("answer")) > settled
            or answers(asker, id)
        ),
        within=_PATIENCE,
        what="the question comes to the client of the call, or the proxy refuses it",
    )
    found = _questions(asker)[before[asker] :]
    if found:
        await asker.send({"id": found[0]["id"], "result": {"action": "accept", "content": {}}})
    must_be_right(
        workbench, await answer_to(workbench, asker, id, "an answer to the call that asks"), "the call"
    )
    wrong = _questions(other)[before[other] :]
    workbench.expect(not wrong, "the other client gets no question", wrong)
    return bool(found)


def _questions(proxy: Proxy) -> list[Json]:
    return [message for message in proxy.received if message.get("method") == ELICIT]


@check("SHARE-005", timeout=40, slow=True)
async def a_subscription_is_of_one_client(workbench: Workbench) -> None:
    """An unsubscription of one client must not end the subscription of the other."""
    update = notify(UPDATED, {"uri": URI})
    script = Script(
        resources=[{"uri": URI, "name": "thing"}],
        capabilities={"resources": {"subscribe": True}, "tools": {}},
        on=[
            Rule("resources/subscribe", [reply(result={})]),
            Rule("resources/unsubscribe", [reply(result={})]),
            on_call("echo", update, reply()),
        ],
    )
    upstream = workbench.stdio("a", script)
    async with clients_of_one_program(workbench, upstream) as (first, second):
        uri = await _subscribable(first)
        await first.request("resources/subscribe", {"uri": uri})
        with workbench.case("one client has subscribed"):
            await _updates(workbench, hear=[first], stay_quiet=[second])
        await second.request("resources/subscribe", {"uri": uri})
        with workbench.case("both have subscribed"):
            await _updates(workbench, hear=[first, second], stay_quiet=[])
        await second.request("resources/unsubscribe", {"uri": uri})
        with workbench.case("one has unsubscribed again"):
            await _updates(workbench, hear=[first], stay_quiet=[second])


async def _subscribable(proxy: Proxy) -> str:
    """The URI of the resource. Raises `NotApplicable` if the proxy has no subscriptions."""
    assert proxy.greeting is not None
    resources = proxy.greeting.member("capabilities").get("resources")
    if not isinstance(resources, dict) or not resources.get("subscribe"):
        raise NotApplicable("it offers no subscriptions")
    found = [str(one.get("uri")) for one in await proxy.items("resources/list", "resources")]
    return next((uri for uri in found if "thing" in uri), URI)


async def _updates(workbench: Workbench, *, hear: list[Proxy], stay_quiet: list[Proxy]) -> None:
    """Let the server announce an update in a call of each client, because a client may have a process of its own."""
    before = {one: len(one.transcript.heard(UPDATED)) for one in (*hear, *stay_quiet)}
    for one in before:
        await one.call("a", "echo", {"x": "update"})
    await workbench.eventually(
        lambda: all(len(one.transcript.heard(UPDATED)) > before[one] for one in hear),
        within=5.0,
        what="each subscriber hears of the update",
    )
    await anyio.sleep(QUIET)
    for one in stay_quiet:
        heard = one.transcript.heard(UPDATED)[before[one] :]
        workbench.expect(not heard, "the other client hears nothing", heard)


@check("SHARE-006", timeout=40, slow=True)
async def a_log_level_is_of_one_client(workbench: Workbench) -> None:
    logged = [notify(LOGGED, {"level": level, "data": f"a line of {level}"}) for level in ("info", "error")]
    script = Script(capabilities={"logging": {}, "tools": {}}, on=[on_call("echo", *logged, reply())])
    script.on.insert(0, Rule("logging/setLevel", [reply(result={})]))
    upstream = workbench.stdio("a", script)
    async with clients_of_one_program(workbench, upstream) as (first, second):
        assert first.greeting is not None
        if "logging" not in first.greeting.member("capabilities"):
            raise NotApplicable("it passes no log messages on")
        for talker, quiet in ((first, second), (second, first)):
            await talker.request("logging/setLevel", {"level": "info"})
            await quiet.request("logging/setLevel", {"level": "error"})
            before = {one: len(one.transcript.heard(LOGGED)) for one in (talker, quiet)}
            for one in before:  # each one, because a client may have a process of its own
                await one.call("a", "echo", {"x": "log"})
            await workbench.eventually(
                partial(_all_heard, before, "error"),
                within=5.0,
                what="both clients get the line of their level",
            )
            await anyio.sleep(QUIET)
            levels = {one: _levels(one, since) for one, since in before.items()}
            workbench.expect(
                "info" not in levels[quiet], "only `error` for the client of `error`", levels[quiet]
            )
            workbench.expect("info" in levels[talker], "also `info` for the other client", levels[talker])


def _levels(proxy: Proxy, since: int) -> list[Any]:
    return [line.param("level") for line in proxy.transcript.heard(LOGGED)[since:]]


def _all_heard(before: dict[Proxy, int], level: str) -> bool:
    return all(level in _levels(one, since) for one, since in before.items())
