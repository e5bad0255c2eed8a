"""FRONT: messages that an upstream begins, and messages about a request in flight.

A proxy need not have what it does not declare. Before a check expects that nothing arrives, something has arrived on
the same connection.
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.front_offers import carries
from conformance.errors import NotApplicable
from conformance.workbench.exposed import declares, exposed_prompt, exposed_uri, needs
from conformance.workbench.listing_forms import listing_text
from conformance.workbench.transcript import increase, part
from mock_servers.script import (
    Rule,
    Script,
    default_tools,
    list_changed,
    notify,
    on_call,
    progress,
    reply,
    set_prompts,
    set_tools,
    sleep,
    tool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


async def must_be_unknown(workbench: Workbench, proxy: Proxy, method: str, params: dict[str, Any]) -> None:
    """Raise `Violation` unless the proxy answers a method whose capability it does not declare with -32601."""
    answer = await proxy.request(method, params)
    workbench.expect(answer.code == -32601, f"{method} is not declared, so the answer is -32601", answer.raw)


async def succeeds(workbench: Workbench, proxy: Proxy, method: str, params: dict[str, Any]) -> Answer:
    answer = await proxy.request(method, params, within=2.0)
    workbench.expect("result" in answer.message, f"{method} returns a result", answer.raw)
    return answer


async def shows(workbench: Workbench, name: str, listing: Callable[[], Awaitable[Answer]]) -> None:
    """The listing shows the name within 2 s."""
    deadline = time.monotonic() + 2.0
    while name not in (answer := await listing()).raw:
        workbench.expect(time.monotonic() < deadline, f"the listing shows {name} within 2 s", answer.raw)
        await anyio.sleep(0.05)


@check("FRONT-021", timeout=30, slow=True)
async def subscriptions_reach_the_owner_and_its_updates_come_back(workbench: Workbench) -> None:
    one, other = {"uri": "x://one"}, {"uri": "x://other"}
    script = Script(
        resources=[{**one, "name": "one"}, {**other, "name": "other"}],
        capabilities={"tools": {}, "resources": {"subscribe": True}},
        on=[
            Rule("resources/subscribe", [reply({})]),
            Rule("resources/unsubscribe", [reply({})]),
            on_call("echo", *(notify("notifications/resources/updated", about) for about in (other, one))),
        ],
    )
    upstream = workbench.stdio("a", script)
    async with workbench.serving(upstream) as proxy:
        needs(proxy, "resources", "subscribe")

        def heard() -> list[Any]:
            return [update.params for update in proxy.transcript.heard("notifications/resources/updated")]

        shown = {"uri": await exposed_uri(proxy, upstream.name, one["uri"])}
        await succeeds(workbench, proxy, "resources/subscribe", shown)
        await _must_have_been_told(workbench, upstream, "resources/subscribe", one)
        await proxy.call("a", "echo")
        await workbench.eventually(heard, within=2.0, what="an update of the resource comes within 2 s")
        await proxy.call("a", "echo")
        await workbench.eventually(lambda: heard()[1:], within=2.0, what="the next update comes within 2 s")
        await succeeds(workbench, proxy, "resources/unsubscribe", shown)
        await _must_have_been_told(workbench, upstream, "resources/unsubscribe", one)
        await proxy.call("a", "echo")
        await workbench.holds_for(
            1.0,
            lambda: workbench.expect(
                heard() in ([one] * 2, [shown] * 2), "only the subscribed updates", heard()
            ),
        )


async def _must_have_been_told(
    workbench: Workbench, upstream: StdioMockUpstream, method: str, about: dict[str, Any]
) -> None:
    what = f"{method} reaches the upstream within 2 s"
    told = await workbench.eventually(lambda: upstream.requests(method), within=2.0, what=what)
    workbench.expect(
        [request.param("uri") for request in told] == [about["uri"]], f"{method} of {about}", told
    )


@check("FRONT-022", timeout=30)
async def a_changed_upstream_list_is_shown_by_the_next_listing(workbench: Workbench) -> None:
    more_tools, more_prompts = [*default_tools(), tool("t3")], [{"name": "p1"}, {"name": "p3"}]
    change = [set_tools(more_tools), set_prompts(more_prompts), list_changed(), list_changed("prompts")]
    upstream = workbench.stdio("a", Script(prompts=[{"name": "p1"}], on=[on_call("echo", *change)]))
    async with workbench.serving(upstream) as proxy:
        has_prompts = declares(proxy, "prompts")
        with workbench.precondition("the listings work before the change"):
            if has_prompts:
                await shows(workbench, "p1", partial(proxy.pages, "prompts/list", "prompts"))
            listing = await proxy.tools_of("a")
            workbench.expect("t3" not in listing_text(listing), "no tool t3", listing.raw)
            await proxy.call("a", "echo")
        await shows(workbench, "t3", partial(proxy.tools_of, "a"))
        if has_prompts:
            await shows(workbench, "p3", partial(proxy.pages, "prompts/list", "prompts"))
        if declares(proxy, "prompts", "listChanged"):
            await workbench.eventually(
                lambda: proxy.transcript.heard("notifications/prompts/list_changed"),
                within=2.0,
                what="the proxy notifies the client of the changed prompts",
            )


@check("FRONT-023", timeout=40, slow=True)
async def progress_is_relayed_under_the_clients_token(workbench: Workbench) -> None:
    """The upstream also reports progress after its answer, and for a token of no request. The client gets no report after the answer
    to it, and none for the other token.
    """
    stray = notify("notifications/progress", {"progressToken": "nobody", "progress": 1})
    one, two, three = (progress(value, **more) for value, more in _PROGRESS)
    work = [stray, one, sleep(0.2), two, sleep(0.2), three, reply(), progress(_LATE)]
    script = Script(
        resources=[{"uri": "x://one", "name": "one"}],
        on=[on_call("echo", *work), Rule("resources/read", [progress(1), reply()])],
    )
    upstream = workbench.stdio("a", script)
    async with workbench.serving(upstream) as proxy:
        for token in ("abc", 0):
            with workbench.case(f"token {json.dumps(token)}"):
                await _must_report_progress(workbench, proxy, upstream, token)
        if declares(proxy, "resources"):
            await _must_report_progress_of_a_read(workbench, proxy, upstream)
        before = len(proxy.transcript.heard("notifications/progress"))
        await proxy.call("a", "echo")
        await anyio.sleep(0.5)
        more = proxy.transcript.heard("notifications/progress")[before:]
        workbench.expect(not more, "no progress for a call without a token", more)


#: the value and the further members of the three reports
_PROGRESS: list[tuple[float, dict[str, Any]]] = [
    (0.5, {"total": 4, "message": "half of a part"}),
    (2, {"total": 4, "message": "two parts"}),
    (3, {}),
]
#: the value of the report after the answer
_LATE = 4


async def _must_report_progress_of_a_read(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream
) -> None:
    uri = await exposed_uri(proxy, upstream.name, "x://one")
    before = len(proxy.transcript.heard("notifications/progress"))
    answer = await proxy.request("resources/read", {"uri": uri, "_meta": {"progressToken": "of-a-read"}})
    heard = proxy.transcript.heard("notifications/progress")[before:]
    tokens = [report.param("progressToken") for report in heard if report.t <= answer.t]
    workbench.expect(tokens == ["of-a-read"], "a report of a read precedes its answer", heard)


async def _must_report_progress(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, token: str | int
) -> None:
    before = len(proxy.transcript.heard("notifications/progress"))
    answer = await proxy.request(
        "tools/call", {**proxy.call_params("a", "echo"), "_meta": {"progressToken": token}}
    )
    with workbench.precondition("a call of a tool that reports its progress"):
        workbench.expect(not answer.is_error, "it succeeds", answer.raw)
    call = upstream.requests("tools/call")[-1]
    workbench.expect(
        part(call.params, "_meta", "progressToken") is not None,
        "the upstream's request has a token",
        call.message,
    )
    await anyio.sleep(0.5)  # leaves time for a late report
    heard = proxy.transcript.heard("notifications/progress")[before:]
    late = [report for report in heard if report.t > answer.t]
    workbench.expect(not late, "no report after the answer", late)
    # A proxy can relay the report that follows the server's answer before its own answer.
    is_whole = len(heard) in (len(_PROGRESS), len(_PROGRESS) + 1)
    workbench.expect(
        is_whole, "the three reports before the server's answer, and at most the one after it", heard
    )
    foreign = [one for one in heard if json.dumps(one.param("progressToken")) != json.dumps(token)]
    workbench.expect(not foreign, f"each report under the token {json.dumps(token)}", foreign)
    workbench.expect(increase(heard), "increasing values", heard)
    sent = [*_PROGRESS, (_LATE, {})][: len(heard)]
    members = [
        {name: report.param(name) for name in ("progress", *more)}
        for report, (_, more) in zip(heard, sent, strict=True)
    ]
    wanted = [{"progress": value, **more} for value, more in sent]
    workbench.expect(carries(members, wanted), f"the reports {json.dumps(wanted)}", members)
    emitted = [
        entry.t for entry in upstream.events("sent") if entry.t > call.t and '"nobody"' not in entry.text
    ]
    delays = [report.t - t for report, t in zip(heard, emitted, strict=False)]
    workbench.expect(max(delays) <= 1.0, "each within 1 s of its emission", delays)


@check("FRONT-025", timeout=40)
async def logging_and_completion_work_if_they_are_declared(workbench: Workbench) -> None:
    """A relay leaves it to the server which levels there are, and which messages it sends."""
    level_set, is_relay = {"level": "warning"}, workbench.sut.profile.relay
    upstreams = [workbench.stdio(name, _talkative(name)) for name in ("a", "b")]
    async with workbench.serving(*upstreams) as several:
        proxy = several.of("a")
        if not declares(proxy, "logging"):
            await must_be_callable(workbench, proxy, upstreams[0])
            await must_be_unknown(workbench, proxy, "logging/setLevel", level_set)
        else:
            await _must_accept_levels(workbench, proxy, upstreams[0])
            await succeeds(workbench, proxy, "logging/setLevel", level_set)
            await _must_hold_back(workbench, proxy, LEVELS[0 if is_relay else LEVELS.index("warning") :])
        proxy = several.of("b")
        name = await exposed_prompt(proxy, "b", "of-b") if declares(proxy, "prompts") else "of-b"
        prompt: dict[str, Any] = {
            "ref": {"type": "ref/prompt", "name": name},
            "argument": {"name": "x", "value": "v"},
        }
        prompt["context"] = {"arguments": {"y": "w"}}
        if not declares(proxy, "completions"):
            await must_be_unknown(workbench, proxy, "completion/complete", prompt)
        else:
            answer = await succeeds(workbench, proxy, "completion/complete", prompt)
            values = answer.member("completion", "values")
            workbench.expect(values == ["from b"], "the completion of the prompt's owner", answer.raw)
            more = [answer.member("completion", name) for name in ("total", "hasMore")]
            workbench.expect(more == [70, True], "the completion with `total` and `hasMore`", answer.raw)
            asked = [one.param("context") for one in upstreams[1].requests("completion/complete")]
            workbench.expect(asked == [prompt["context"]], f"the context {prompt['context']}", asked)
        if not (declares(several.of("a"), "logging") or declares(proxy, "completions")):
            raise NotApplicable("it declares neither logging nor completions")


def _talkative(name: str) -> Script:
    messages = [notify("notifications/message", _logged(name, level)) for level in LEVELS]
    completion = {"completion": {"values": [f"from {name}"], "total": 70, "hasMore": True}}
    return Script(
        prompts=[{"name": f"of-{name}", "arguments": [{"name": "x"}]}],
        capabilities={"tools": {}, "prompts": {}, "logging": {}, "completions": {}},
        on=[
            Rule("logging/setLevel", [reply({})]),
            Rule("completion/complete", [reply(completion)]),
            on_call("echo", *messages),
        ],
    )


def _logged(name: str, level: str) -> dict[str, Any]:
    return {"level": level, "logger": f"log of {name}", "data": {"text": [f"{name} {level}", None, 1.5]}}


async def _must_accept_levels(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    for level in LEVELS:
        with workbench.case(f"the level {level}"):
            await succeeds(workbench, proxy, "logging/setLevel", {"level": level})
    if not workbench.sut.profile.relay:
        answer = await proxy.request("logging/setLevel", {"level": "verbose"}, within=2.0)
        workbench.expect(answer.code == -32602, "the proxy refuses the level verbose with -32602", answer.raw)

    def forwarded() -> bool:
        levels = [request.param("level") for request in upstream.requests("logging/setLevel")]
        return set(LEVELS) == set(levels)

    await workbench.eventually(
        forwarded, within=2.0, what="the eight levels, and no other, reach the upstream"
    )


async def _must_hold_back(workbench: Workbench, proxy: Proxy, expected: list[str]) -> None:
    before = len(proxy.transcript.heard("notifications/message"))

    def heard() -> list[Any]:
        return [h.params for h in proxy.transcript.heard("notifications/message")[before:]]

    await proxy.call("a", "echo")
    await workbench.eventually(
        lambda: len(heard()) >= len(expected), within=2.0, what=f"messages of the levels {expected}"
    )
    await anyio.sleep(0.3)
    workbench.expect(
        [one.get("level") for one in heard()] == expected, f"the levels {expected} only", heard()
    )
    sent = [_logged("a", level) for level in expected]
    workbench.expect(carries(heard(), sent), f"the messages {sent}", heard())
