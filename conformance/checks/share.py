"""SHARE: what belongs to one client of a program does not reach another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.errors import NotApplicable, Violation
from conformance.workbench.several_clients import another_client, clients_of_one_program
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
HELD = 6.0
#: seconds for an answer that waits until two held calls have ended by themselves
PATIENCE = 2 * HELD + 5.0
#: seconds after which a call that has not reached its server waits behind another one in the proxy
_ARRIVES = 3.0


def with_argument(**arguments: Any) -> Json:
    """The params of a rule for calls with these arguments."""
    return {"arguments": arguments}


def answers(proxy: Proxy, id: object) -> list[Json]:
    """The answers to a request of `begin` that have come."""
    return [message for message in proxy.received if message.get("id") == id and "method" not in message]


async def answer_to(
    workbench: Workbench, proxy: Proxy, id: object, what: str, within: float = PATIENCE
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
        on_call("echo", hold(word, HELD), *map(progress, values[word]), reply(), params=with_argument(x=word))
        for word in values
    ]
    rules += [
        on_call("echo", release(word), reply(), params=with_argument(x=f"release {word}")) for word in values
    ]
    rules.append(on_call("echo", progress(1), progress(2), reply(), params=with_argument(x="alone")))
    upstream = workbench.stdio("a", Script(on=rules))
    async with clients_of_one_program(workbench, upstream) as (first, second):
        clients = {"first": first, "second": second}
        for word, client in clients.items():
            params = {**client.call_params("a", "echo", {"x": word}), "_meta": {"progressToken": "same"}}
            await client.begin("tools/call", params, id="same")
            await reaches_or_waits(workbench, upstream, word)
        for word, client in clients.items():
            await client.call("a", "echo", {"x": f"release {word}"}, within=PATIENCE)
        for client in (first, second):
            must_be_right(workbench, await answer_to(workbench, client, "same", "an answer"), "the call")
        heard = {
            name: [one.param("progress") for one in client.transcript.heard(PROGRESS)]
            for name, client in clients.items()
        }
        if not any(heard.values()):
            await _must_relay_none(workbench, first)
            raise NotApplicable("it relays no progress")
        for name, reports in heard.items():
            workbench.expect(
                reports and set(reports) <= {*values[name]},
                f"some of {values[name]} for the {name}, and no others",
                heard,
            )


async def _must_relay_none(workbench: Workbench, client: Proxy) -> None:
    """Raise `Violation` if the client hears of the progress of a call that is alone, with a token of its own."""
    params = {**client.call_params("a", "echo", {"x": "alone"}), "_meta": {"progressToken": "of one call"}}
    await client.request("tools/call", params, within=PATIENCE)
    reports = [one.params for one in client.transcript.heard(PROGRESS)]
    workbench.expect(not reports, "progress of two calls with the same token, as of a call alone", reports)


async def reaches_or_waits(workbench: Workbench, upstream: MockUpstream, word: str) -> None:
    """Wait until the request is at the upstream, or waits in the proxy: one call of a server at a time is allowed (HTTP-018)."""
    what = f"the request with {word!r} reaches the upstream"
    try:
        await workbench.eventually(lambda: _with_word(upstream, word), within=_ARRIVES, what=what)
    except Violation as problem:
        if not upstream.requests("tools/call"):
            raise
        workbench.note(f"{problem.expected}: not within {_ARRIVES:g} s, so it waits behind another call")


def _with_word(upstream: MockUpstream, word: str) -> list[Request]:
    requests = [*upstream.requests("tools/call"), *upstream.requests("resources/read")]
    return [one for one in requests if f'"{word}"' in one.text]


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
                on_call("echo", hold("go", HELD), reply(), params=with_argument(x="waits")),
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
            await first.call("a", "echo", {"x": "release"}, within=PATIENCE)
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
        within=PATIENCE,
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
    """Neither an unsubscription of one client nor its end must end the subscription of another one."""
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
        async with another_client(workbench, first) as third:
            await third.handshake()
            await third.ready(upstream)
            await third.request("resources/subscribe", {"uri": uri})
        with workbench.case("a third subscriber has ended"):
            await anyio.sleep(QUIET)  # the program may notice the end of a client later
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
