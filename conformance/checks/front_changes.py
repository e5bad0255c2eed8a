"""FRONT: which changes of lists the proxy announces to the client, and how long lists wait."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_work_again
from conformance.errors import NotApplicable
from conformance.workbench.exposed import declared_methods, declares, exposed_prompt, exposed_uri
from mock_servers.script import (
    Rule,
    Script,
    crash,
    list_changed,
    on_call,
    reply,
    set_prompts,
    set_resources,
    silence,
    sleep,
)

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

KINDS = ("resources", "prompts")
LISTS = ("prompts/list", "resources/list", "resources/templates/list")
PROMPTS_CHANGED = "notifications/prompts/list_changed"
ENTRIES = Script(
    prompts=[{"name": "p1"}],
    resources=[{"uri": "x://one", "name": "one"}],
    templates=[{"uriTemplate": "x://{id}", "name": "any"}],
    on=[on_call("echo", crash(), params={"arguments": {"crash": True}})],
)
NOTHING = Script(
    prompts=[], resources=[], on=[on_call("echo", crash(), params={"arguments": {"crash": True}})]
)
#: seconds in which a wrong notification would come
SILENCE = 2.5


def _told(proxy: Proxy) -> list[str]:
    methods = (str(heard.message.get("method")) for heard in proxy.transcript.heard())
    return [method for method in methods if method.endswith("/list_changed")]


async def _must_have_told(
    workbench: Workbench, proxy: Proxy, so_far: list[str], what: str, seconds: float = SILENCE
) -> None:
    """Raise `Violation` unless the client got only the announcements `so_far`, and gets no other one for some seconds."""
    await workbench.holds_for(
        seconds, lambda: workbench.expect(_told(proxy) == so_far, f"no list_changed {what}", _told(proxy))
    )


async def must_follow_the_last_change(
    workbench: Workbench, proxy: Proxy, upstream: MockUpstream, within: float
) -> None:
    """Raise `Violation` unless an announcement of changed prompts follows the last one of the upstream, before or after an answer."""
    sent = [entry.t for entry in upstream.events("sent") if PROMPTS_CHANGED in entry.text]
    last = workbench.at(sent, -1, "the upstream announces its changes")
    await workbench.eventually(
        lambda: any(heard.t >= last for heard in proxy.transcript.heard(PROMPTS_CHANGED)),
        within=within,
        what="a notification after the last change",
    )


def _announces(proxy: Proxy, *kinds: str) -> None:
    if not any(declares(proxy, kind, "listChanged") for kind in kinds):
        raise NotApplicable("it declares no listChanged")


async def _list(workbench: Workbench, proxy: Proxy, entry: str, method: str = "prompts/list") -> Answer:
    answer = await proxy.request(method, within=15.0)
    workbench.expect(entry in answer.raw, f"{method} has {entry}", answer.raw)
    return answer


@check("FRONT-120", timeout=60, slow=True)
async def only_a_changed_list_is_announced(workbench: Workbench) -> None:
    upstreams = workbench.stdio("full", ENTRIES), workbench.stdio("empty", NOTHING)
    async with workbench.serving(*upstreams) as proxy:
        _announces(proxy, *KINDS)
        await _must_have_told(workbench, proxy, [], "before the first list", 1.0)
        for method in declared_methods(proxy, LISTS):
            with workbench.precondition("the lists have the entries"):
                await _list(workbench, proxy, "p1" if method == "prompts/list" else "x://", method)
        told = _told(proxy)
        for upstream in upstreams:
            await _must_restart(workbench, proxy, upstream)
        await _must_have_told(workbench, proxy, told, "after a restart with the same lists")


async def _must_restart(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """The server dies in a call, and is started again: by itself, or by the next request about its group."""
    starts, exits = len(upstream.starts), len(upstream.events("exit"))
    await proxy.begin_call(upstream.name, "echo", {"crash": True})
    with workbench.precondition(f"{upstream.name} restarts"):
        await workbench.eventually(
            lambda: len(upstream.events("exit")) > exits, within=5.0, what="the end of the process"
        )
        await must_work_again(workbench, proxy, upstream)
        workbench.expect(len(upstream.starts) > starts, "a further start", upstream.starts)
        await proxy.ready(upstream)


@check("FRONT-121", timeout=60, slow=True)
async def a_hung_server_does_not_delay_the_lists_of_the_others(workbench: Workbench) -> None:
    good = workbench.stdio("good", ENTRIES)
    mute = workbench.stdio("mute", Script(on=[Rule("*", [silence()])]))
    stuck = workbench.stdio(
        "stuck", Script(resources=[], prompts=[], on=[Rule(name, [silence()]) for name in LISTS])
    )
    async with workbench.proxy(good, mute, stuck) as proxy:
        await proxy.handshake()
        await proxy.ready(good, stuck)
        methods = declared_methods(proxy, LISTS)
        began = time.monotonic()
        answers = [(method, await proxy.request(method, within=30.0)) for method in methods]
        took = time.monotonic() - began
        if not answers:
            raise NotApplicable("it declares neither prompts nor resources")
        for method, answer in answers:
            entry = "p1" if method == "prompts/list" else "x://"
            workbench.expect(
                entry in answer.raw, f"{method} has the entries of the healthy server", answer.raw
            )
            meta = json.dumps(answer.member("_meta"))
            if workbench.promises("names-missing-groups"):
                names = "mute" in meta and "stuck" in meta
                workbench.expect(names, f"the _meta of {method} names what is missing", answer.raw)
        asked = stuck.requests("prompts/list") + stuck.requests("resources/list")
        workbench.expect(asked, "the proxy asks the server that hangs", asked)
        workbench.expect(took <= 8.0, "the lists come within 8 s", f"after {took:.1f} s", timed=True)


@check("FRONT-176", timeout=60, slow=True)
async def a_hung_server_does_not_delay_the_reads_of_the_others(workbench: Workbench) -> None:
    """The entries are new, so a proxy that looks for their server needs its list anew. One that reads only what it listed is not judged."""
    changes = [
        *(
            set_resources([{"uri": "x://old", "name": "old"}, {"uri": "x://new", "name": "new"}]),
            list_changed("resources"),
        ),
        *(set_prompts([{"name": "p-old"}, {"name": "p-new"}]), list_changed("prompts")),
    ]
    good = workbench.stdio(
        "good",
        Script(
            prompts=[{"name": "p-old"}],
            resources=[{"uri": "x://old", "name": "old"}],
            on=[on_call("echo", *changes, reply())],
        ),
    )
    stuck = workbench.stdio(
        "stuck", Script(resources=[], prompts=[], on=[Rule(name, [silence()]) for name in LISTS])
    )
    async with workbench.serving(stuck, good) as proxy:
        new = {}
        with workbench.precondition("the lists have the entries of the other server"):
            if declares(proxy, "resources"):
                new["resources/read"] = (
                    "uri",
                    (await exposed_uri(proxy, "good", "x://old")).replace("old", "new"),
                )
            if declares(proxy, "prompts"):
                new["prompts/get"] = (
                    "name",
                    (await exposed_prompt(proxy, "good", "p-old")).replace("old", "new"),
                )
        if not new:
            raise NotApplicable("it declares neither prompts nor resources")
        with workbench.precondition("the lists of the other server change"):
            await proxy.call("good", "echo")
        judged = 0
        for method, (key, name) in new.items():
            with workbench.case(method):
                began = time.monotonic()
                await proxy.request(method, {key: name}, within=30.0)
                took = time.monotonic() - began
                workbench.expect(
                    took <= 5.0, "the answer comes within 5 s", f"after {took:.1f} s", timed=True
                )
                judged += bool(good.requests(method))
        if not judged:
            raise NotApplicable("it passes on only requests for what it listed")


@check("FRONT-122", timeout=60, slow=True)
async def what_a_list_lacked_is_announced_when_it_is_there(workbench: Workbench) -> None:
    slow_start = Script(prompts=[{"name": "of-starting"}], on=[Rule("initialize", [sleep(5.0)], nth=1)])
    slow_list = Script(prompts=[{"name": "of-slow"}], on=[Rule("prompts/list", [sleep(5.0)], nth=1)])
    starting, slow = workbench.stdio("starting", slow_start), workbench.stdio("slow", slow_list)
    async with workbench.proxy(starting, slow) as proxy:
        await proxy.handshake()
        _announces(proxy, "prompts")
        await proxy.ready(slow)
        answer = await proxy.request("prompts/list", within=30.0)
        lacks = {prompt for prompt in ("of-starting", "of-slow") if prompt not in answer.raw}
        if not lacks:
            raise NotApplicable("its list waits for every server")
        listed_at = time.monotonic()
        while lacks:
            seen = len(_told(proxy))
            with workbench.case(f"without {sorted(lacks)}"):
                await workbench.eventually(
                    lambda seen=seen: PROMPTS_CHANGED in _told(proxy)[seen:],  # type: ignore[misc]
                    within=max(15.0 - (time.monotonic() - listed_at), 0.5),
                    what=PROMPTS_CHANGED,
                )
            answer = await proxy.request("prompts/list", within=30.0)
            still = {prompt for prompt in lacks if prompt not in answer.raw}
            workbench.expect(still < lacks, f"the list after the notification has one of {lacks}", answer.raw)
            lacks = still


@check("FRONT-123", timeout=40, slow=True)
async def changes_close_together_are_one_notification(workbench: Workbench) -> None:
    # A notification of the first changes has arrived before the last change.
    changes = [
        action
        for number, pause in enumerate([0.015] * 11 + [0.6])
        for action in (sleep(pause), set_prompts([{"name": f"v{number}"}]), list_changed("prompts"))
    ]
    upstream = workbench.stdio("a", Script(prompts=[{"name": "p1"}], on=[on_call("echo", *changes)]))
    async with workbench.serving(upstream) as proxy:
        _announces(proxy, "prompts")
        with workbench.precondition("the list works before the changes"):
            await _list(workbench, proxy, "p1")
        before = len(_told(proxy))
        await proxy.call("a", "echo")
        await must_follow_the_last_change(workbench, proxy, upstream, within=3.0)
        await workbench.holds_for(
            1.0,
            lambda: workbench.expect(
                len(_told(proxy)) - before <= 3, "at most 3 notifications of 12 changes", _told(proxy)
            ),
        )
        await _list(workbench, proxy, "v11")


@check("FRONT-124", timeout=40, slow=True)
async def an_undeclared_notification_counts_only_for_a_real_change(workbench: Workbench) -> None:
    new = [{"name": "p1"}, {"name": "new"}]
    real = on_call(
        "echo", set_prompts(new), list_changed("prompts"), reply(), params={"arguments": {"real": True}}
    )
    script = Script(
        prompts=[{"name": "p1"}],
        capabilities={"tools": {}, "prompts": {"listChanged": False}},
        on=[real, on_call("echo", list_changed("prompts"))],
    )
    async with workbench.serving(workbench.stdio("a", script)) as proxy:
        _announces(proxy, "prompts")
        with workbench.precondition("the list works before the notifications"):
            await _list(workbench, proxy, "p1")
        told = _told(proxy)
        with workbench.precondition("the calls work"):
            await proxy.call("a", "echo")
        await _must_have_told(workbench, proxy, told, "for the same prompts", 2.0)
        with workbench.precondition("the calls work"):
            await proxy.call("a", "echo", {"real": True})
        await workbench.eventually(
            lambda: PROMPTS_CHANGED in _told(proxy), within=3.0, what=f"{PROMPTS_CHANGED} for another prompt"
        )
        await _list(workbench, proxy, "new")
