"""FRONT and CFG: faults of one server that cost no more than they have to, and whose reason the client reads."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.checks.sloppy_messages import SOON
from conformance.checks.sloppy_values import nulls
from conformance.workbench.exposed import declares, needs
from conformance.workbench.listing_forms import definitions
from conformance.workbench.transcript import part
from mock_servers.remote_actions import respond
from mock_servers.script import Rule, Script, default_tools, list_changed, on_call, reply, silence, tool

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

#: seconds in which the proxy has to apply a save
APPLIED = 10.0
REASON = "the quota of this project is used up"
#: values of ``url`` that are no addresses, by the name of the server
NO_ADDRESSES = {
    "without-a-scheme": "localhost:3000/mcp",
    "another-scheme": "ftp://127.0.0.1/mcp",
    "without-a-host": "http:///mcp",
    "empty": "",
}


@check("FRONT-130")
async def a_list_of_tools_that_is_null_is_an_empty_one(workbench: Workbench) -> None:
    null = workbench.stdio("null", Script(on=[Rule("tools/list", [reply({"tools": None})])]))
    good = workbench.stdio("good")
    async with workbench.proxy(null, good) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        await must_be_echoed(workbench, proxy, "good", {"x": 1})
        listing = await proxy.tools_of("null")
        workbench.expect(not listing.is_error, "a listing without an error", listing.raw)
        workbench.some(null.requests("tools/list"), "the proxy asks for the list")
        workbench.expect(not definitions(listing, "echo"), "no tool of another group", listing.raw)


@check("FRONT-131", timeout=40, slow=True)
async def the_last_list_serves_while_no_new_one_comes(workbench: Workbench) -> None:
    """The first lists have an answer, because a proxy may list a few times before it is ready."""
    answered, changes = 3, 6
    upstream = workbench.stdio(
        "a",
        Script(
            tools=[*default_tools(), tool("change")],
            capabilities={"tools": {"listChanged": True}},
            on=[
                on_call("change", reply(), list_changed()),
                Rule("tools/list", [silence()], nth=answered + 1, times=1000),
            ],
        ),
        timeout={"tools": "6s"},
    )
    async with workbench.serving(upstream) as proxy:
        for number in range(changes):
            changed = await proxy.call("a", "change")
            workbench.expect(not changed.is_error, "the call that changes the list works", changed.raw)
            await must_be_echoed(workbench, proxy, "a", {"x": number})
            if len(upstream.requests("tools/list")) > answered:
                return
        workbench.note("the proxy does not list anew for a call")


@check("FRONT-132")
async def an_error_with_the_id_null_is_the_answer_to_its_post(workbench: Workbench) -> None:
    body = f'{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":"{REASON}"}}}}'
    refusal = respond(200, body, headers={"Content-Type": "application/json"})
    script = Script(tools=[*default_tools(), tool("refuse")], on=[on_call("refuse", refusal)])
    upstream = await workbench.http("a", script)
    async with workbench.serving(upstream) as proxy:
        answer = await proxy.call("a", "refuse", within=SOON)
        workbench.expect(answer.is_error, "an error", answer.raw)
        workbench.expect(REASON in answer.raw, f"the reason {REASON!r}", answer.raw)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})


@check("FRONT-133")
async def json_under_the_type_of_a_page_is_read(workbench: Workbench) -> None:
    result = '{"jsonrpc":"2.0","id":"$id","result":{"content":[{"type":"text","text":"from a page"}]}}'
    page = respond(200, result, headers={"Content-Type": "text/html; charset=UTF-8"})
    upstream = await workbench.http(
        "a", Script(tools=[*default_tools(), tool("page")], on=[on_call("page", page)])
    )
    async with workbench.serving(upstream) as proxy:
        answer = await proxy.call("a", "page", within=SOON)
        workbench.expect(not answer.is_error, "the call succeeds", answer.raw)
        workbench.expect(answer.text == "from a page", "the text of the server", answer.raw)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})


@check("FRONT-134")
async def definitions_have_no_members_that_are_null(workbench: Workbench) -> None:
    rest = {"title": None, "description": None, "annotations": None, "_meta": None}
    resource = {**rest, "uri": "file:///a", "name": None, "mimeType": None, "size": None}
    template = {**rest, "uriTemplate": "a://{id}", "name": None, "mimeType": None}
    argument = {"name": "x", "description": None, "required": None}
    plain = {"title": None, "description": None, "_meta": None, "arguments": None}
    prompts: list[dict[str, Any]] = [
        {**plain, "name": "plain"},
        {**plain, "name": "asking", "arguments": [argument]},
    ]
    upstream = workbench.stdio("a", Script(resources=[resource], templates=[template], prompts=prompts))
    async with workbench.serving(upstream) as proxy:
        lists = [("prompts/list", "prompts")] if declares(proxy, "prompts") else []
        if declares(proxy, "resources"):
            lists += [("resources/list", "resources"), ("resources/templates/list", "resourceTemplates")]
        if not lists:
            needs(proxy, "prompts")
        for method, member in lists:
            with workbench.case(method):
                entries = workbench.some(await proxy.items(method, member), f"an entry of {method}")
                found = nulls(entries, member)
                workbench.expect(not found, "no member that is null", f"{', '.join(found)}: {entries}")
                workbench.some(upstream.requests(method), "the upstream is asked")
        await must_be_echoed(workbench, proxy, "a", {"x": 1})


@check("FRONT-135", timeout=30)
async def a_capability_outlives_the_last_server_that_has_it(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(prompts=[{"name": "ask"}]))
    config = workbench.config(upstream)
    async with workbench.serving(upstream, config=config) as proxy:
        needs(proxy, "prompts")
        with workbench.precondition("the prompt is listed"):
            workbench.expect(await proxy.items("prompts/list", "prompts"), "a prompt", "none")
        workbench.some(upstream.requests("prompts/list"), "the upstream is asked")
        workbench.save(config, upstream.variant(features={"prompts": False}))
        deadline = time.monotonic() + APPLIED
        while True:
            answer = await proxy.request("prompts/list", {})
            workbench.expect(not answer.is_error, "a list of prompts without an error", answer.raw)
            if part(answer.result, "prompts") == []:
                break
            within = f"an empty list within {APPLIED:g} s"
            workbench.expect(time.monotonic() < deadline, within, answer.raw)
            await anyio.sleep(0.1)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})


@check("CFG-050")
async def a_url_that_is_no_address_is_named_as_the_cause(workbench: Workbench) -> None:
    good = await workbench.http("good")
    spaced = await workbench.http("spaced")
    bad = [replace(good.variant(url=url), name=name) for name, url in NO_ADDRESSES.items()]
    async with workbench.proxy(good, spaced.variant(url=f" {spaced.entry['url']}\n"), *bad) as proxy:
        with workbench.must("the proxy starts, and serves the other groups"):
            await proxy.handshake()
        for name in ("good", "spaced"):
            await must_be_echoed(workbench, proxy, name, {"x": name})
        for name in NO_ADDRESSES:
            with workbench.case(name):
                began = time.monotonic()
                listing = await proxy.tools_of(name)
                took = time.monotonic() - began
                workbench.expect(listing.is_error, "an error", listing.raw)
                workbench.expect("url" in listing.raw.lower(), "a message that names the url", listing.raw)
                workbench.expect("http" in listing.raw, "the form of an address", listing.raw)
                workbench.expect(took <= 5.0, "an answer within 5 s", f"{took:.1f} s")
