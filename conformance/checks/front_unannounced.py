"""FRONT: upstreams whose lists change without a notification."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.workbench.exposed import declares, exposed_prompt, exposed_template, exposed_uri, needs
from conformance.workbench.listing_forms import definitions
from mock_servers.script import (
    Script,
    default_tools,
    on_call,
    reply,
    set_prompts,
    set_resources,
    set_tools,
    tool,
)

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: wrong names in a row, and the list requests that they may cause
WRONG = 20
MAX_LISTS = 10

_LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")


def _signs_in(**fields: Any) -> Script:
    """A server with more tools, resources and prompts after a call of `echo`, as after a sign-in."""
    changes = [
        set_tools([*default_tools(), tool("new")]),
        set_resources(
            [{"uri": "mock://old", "name": "old"}, {"uri": "mock://new", "name": "new"}],
            [{"uriTemplate": "later://{id}", "name": "later"}],
        ),
        set_prompts([{"name": "old"}, {"name": "new"}]),
    ]
    return Script(
        resources=[{"uri": "mock://old", "name": "old"}],
        templates=[],
        prompts=[{"name": "old"}],
        on=[on_call("echo", *changes, reply())],
        **fields,
    )


_DECLARED = {"tools": {"listChanged": True}, "resources": {}, "prompts": {}}


@check("FRONT-070", timeout=40)
async def a_tool_that_appears_without_a_notification_is_usable(workbench: Workbench) -> None:
    upstreams = {
        "is listed": workbench.stdio("listed", _signs_in()),
        "works at once": workbench.stdio("called", _signs_in()),
        "works at once, although notifications are declared": workbench.stdio(
            "silent", _signs_in(capabilities=_DECLARED)
        ),
    }
    if "modern" in workbench.eras():
        upstreams["works at once at a modern upstream"] = workbench.stdio("modern", _signs_in(era="modern"))
    async with workbench.serving(*upstreams.values()) as proxy:
        for what, upstream in upstreams.items():
            with workbench.case(f"a new tool {what}"):
                await proxy.tools_of(upstream.name)
                changed = await proxy.call(upstream.name, "echo")
                workbench.expect(not changed.is_error, "the call that changes the list works", changed.raw)
                if what == "is listed":
                    listing = await proxy.tools_of(upstream.name)
                    workbench.expect(definitions(listing, "new"), "the listing has the new tool", listing.raw)
                answer = await proxy.call(upstream.name, "new", {"number": 1})
                workbench.expect(not answer.is_error, "the call of the new tool works", answer.raw)
    await _must_have_the_tools_of_this_run(workbench, upstreams["is listed"])


async def _must_have_the_tools_of_this_run(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    """Start the server again, without its new tool. Raise `Violation` if a listing after its answer shows the list of its last run."""
    async with workbench.serving(upstream) as proxy:
        with workbench.case("a tool that is gone when the proxy starts again"):
            before = len(upstream.requests("tools/call"))
            await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
            with workbench.precondition("the call reaches the server"):
                called = upstream.requests("tools/call")[before:]
                workbench.expect(called, "a call in the journal", called)
            listing = await proxy.tools_of(upstream.name)
            deadline = time.monotonic() + 2.0
            while definitions(listing, "new"):
                expected = "the listing is that of the server within 2 s"
                workbench.expect(time.monotonic() < deadline, expected, listing.raw)
                await anyio.sleep(0.05)
                listing = await proxy.tools_of(upstream.name)


@check("FRONT-071", timeout=40)
async def a_resource_that_appears_without_a_notification_is_usable(workbench: Workbench) -> None:
    lists, uses = workbench.stdio("lists", _signs_in()), workbench.stdio("uses", _signs_in())
    async with workbench.serving(lists) as proxy:
        if not declares(proxy, "prompts"):
            needs(proxy, "resources")
        await _changes(workbench, proxy, lists)
        if declares(proxy, "resources"):
            with workbench.case("the lists have the new entries"):
                await exposed_uri(proxy, lists.name, "mock://new")
                await exposed_template(proxy, lists.name, "later://{id}")
        if declares(proxy, "prompts"):
            await exposed_prompt(proxy, lists.name, "new")
    async with workbench.serving(uses) as proxy:
        # What the proxy makes of the names that it shows, it also makes of the new ones.
        shown = await _changes(workbench, proxy, uses)
        if declares(proxy, "resources"):
            uri = shown["resource"].replace("mock://old", "mock://new")
            await _must_be_used(workbench, proxy, uses, "resources/read", {"uri": uri})
            covered = shown["resource"].replace("mock://old", "later://1")
            await _must_be_used(workbench, proxy, uses, "resources/read", {"uri": covered})
        if declares(proxy, "prompts"):
            name = shown["prompt"].replace("old", "new")
            await _must_be_used(workbench, proxy, uses, "prompts/get", {"name": name})


async def _changes(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> dict[str, str]:
    """Let the proxy list everything, and then the upstream change it; the names of the old entries."""
    shown = {}
    if declares(proxy, "resources"):
        shown["resource"] = await exposed_uri(proxy, upstream.name, "mock://old")
        await proxy.items("resources/templates/list", "resourceTemplates")
    if declares(proxy, "prompts"):
        shown["prompt"] = await exposed_prompt(proxy, upstream.name, "old")
    changed = await proxy.call(upstream.name, "echo")
    workbench.expect(not changed.is_error, "the call that changes the lists works", changed.raw)
    return shown


async def _must_be_used(
    workbench: Workbench, proxy: Proxy, upstream: MockUpstream, method: str, params: dict[str, str]
) -> None:
    with workbench.case(f"{method} of {next(iter(params.values()))}"):
        before = len(upstream.requests(method))
        answer = await proxy.request(method, params, within=10.0)
        workbench.expect(not answer.is_error, "it works", answer.raw)
        workbench.expect(len(upstream.requests(method)) > before, "the upstream gets the request", answer.raw)


@check("FRONT-072", timeout=60)
async def wrong_names_cause_few_list_requests(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", _signs_in())
    async with workbench.serving(upstream) as proxy:
        wrong = {"tools": partial(proxy.call, "a", "nothing")}
        if declares(proxy, "resources"):
            wrong["resources"] = partial(proxy.request, "resources/read", {"uri": "no://where"})
        if declares(proxy, "prompts"):
            wrong["prompts"] = partial(proxy.request, "prompts/get", {"name": "nothing"})
        for kind, ask in wrong.items():
            with workbench.case(f"{WRONG} wrong names of {kind}"):
                before = {method: len(upstream.requests(method)) for method in _LISTS}
                for _ in range(WRONG):
                    answer = await ask()
                    workbench.expect(answer.is_error, "an error", answer.raw)
                for method in _LISTS:
                    count = len(upstream.requests(method)) - before[method]
                    what = f"at most {MAX_LISTS} requests of {method}"
                    workbench.expect(count <= MAX_LISTS, what, f"{count} requests", timed=True)
        right = await proxy.call("a", "add", {"a": 1, "b": 2})
        workbench.expect(not right.is_error, "a call of a listed tool still works", right.raw)
