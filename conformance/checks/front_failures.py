"""FRONT: what the client sees of an upstream that fails, refuses or is missing, and of bad addressing."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import can_name_a_tool
from conformance.errors import ImplementationCrashed
from conformance.model.registry import MODERN
from conformance.workbench.exposed import requests_of_each_kind, script_of_each_kind
from conformance.workbench.transcript import part
from mock_servers.script import Script, crash, error, on_call, silence, tool

if TYPE_CHECKING:
    from conformance.workbench.client import Era
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Era as ServerEra


@check("FRONT-013", timeout=40, slow=True)
async def a_failed_call_is_an_error_at_the_top_level_of_its_answer(workbench: Workbench) -> None:
    """A program that takes no timeout can wait for ever. One with a single upstream can end with it."""
    await workbench.run_cases(*(partial(_calls_fail, workbench, era) for era in _eras_of_clients(workbench)))


def _eras_of_clients(workbench: Workbench) -> tuple[Era, ...]:
    """Only a profile tells of modern clients, because another program may not even answer a modern request."""
    return ("legacy", "modern") if workbench.sut.profile.speaks(MODERN) else ("legacy",)


async def _calls_fail(workbench: Workbench, era: Era) -> None:
    spoken: ServerEra = "both" if era == "modern" else "legacy"
    upstreams = [workbench.stdio(f"dying-{era}", Script(era=spoken, on=[on_call("echo", crash())]))]
    if workbench.can_set("timeout"):
        script = Script(era=spoken, on=[on_call("echo", silence())])
        upstreams.append(workbench.stdio(f"silent-{era}", script, timeout={"tools": "1s"}))
    async with workbench.proxy(*upstreams) as proxy:
        proxy.modern = era == "modern"
        if not proxy.modern:
            await proxy.handshake()
        await proxy.ready(*upstreams)
        with workbench.precondition("an ordinary call succeeds"):
            for upstream in upstreams:
                worked = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
                workbench.expect(not worked.is_error, f"{upstream.name} adds two numbers", worked.raw)

        async def must_fail(upstream: StdioMockUpstream) -> None:
            try:
                answer = await proxy.call(upstream.name, "echo")
            except ImplementationCrashed:
                if workbench.sut.profile.upstreams != "one":
                    raise
                proxy.of(upstream.name).may_end_by_itself()
                workbench.note(f"the program ended with its upstream: {proxy.how_it_ended()}")
                return
            with workbench.case(upstream.name):
                workbench.expect(answer.is_error, "an error, or result.isError is true", answer.raw)
                workbench.expect(answer.text.strip(), "a text", answer.raw)

        await workbench.run_cases(*(partial(must_fail, upstream) for upstream in upstreams))


_BOOM = f"boom: {'no more room on the device, ' * 10}and nothing else"


@check("FRONT-014")
async def upstream_errors_keep_their_message(workbench: Workbench) -> None:
    boom = error(-32050, _BOOM, {"k": 1})
    upstream = workbench.stdio("a", script_of_each_kind(boom))
    async with workbench.serving(upstream) as proxy:
        for method, params in (await requests_of_each_kind(proxy, "a")).items():
            answer = await proxy.request(method, params, within=10.0)
            with workbench.case(method):
                workbench.expect(upstream.requests(method), "it reaches the upstream", answer.raw)
                workbench.expect(
                    answer.is_error and _BOOM in answer.text, f"an error that says {_BOOM}", answer.raw
                )
                if answer.error is not None and workbench.promises("upstream-error-codes"):
                    code, data = answer.code, part(answer.error, "data")
                    workbench.expect(
                        code == -32050 and data == {"k": 1}, "code -32050 with its data", answer.raw
                    )


@check("FRONT-015")
async def bad_addressing_is_an_error_before_any_upstream_call(workbench: Workbench) -> None:
    """A name that is almost right is an unknown name. Spaces around a name are not judged."""
    upstream, other = workbench.stdio("alpha"), workbench.stdio("beta", Script(tools=[tool("of_beta")]))
    call, get = (workbench.sut.profile.tools[name] for name in ("call", "list"))
    echo = {"name": "echo", "args": {}}
    no_group: dict[str, tuple[str, dict[str, Any]]] = {
        "an unknown group": (call, {"group": "nobody", **echo}),
        "the tools of an unknown group": (get, {"group": "nobody"}),
        "no group": (call, echo),
        "a group that is a number": (call, {"group": 7, **echo}),
        "an unknown tool of the proxy": ("no_such_tool", {"group": "alpha", **echo}),
        **{f"the group {name!r}": (call, {"group": name, **echo}) for name in ("ALPHA", "al")},
    }
    unknown = ("no_such_tool", "Echo", "ech", "of_beta")
    no_tool: dict[str, tuple[str, dict[str, Any]]] = {
        "no name": (call, {"group": "alpha", "args": {}}),
        "a name that is a list": (call, {"group": "alpha", "name": ["echo"], "args": {}}),
        **{f"the tool {name!r}": (call, {"group": "alpha", "name": name, "args": {}}) for name in unknown},
    }
    async with workbench.serving(upstream, other) as proxy:
        await workbench.run_cases(
            *(
                partial(_must_explain_refusal, workbench, proxy, what, *case)
                for what, case in no_group.items()
            )
        )
        called = [*upstream.requests("tools/call"), *other.requests("tools/call")]
        workbench.expect(not called, "a call without a right group reaches no upstream", called)
        await workbench.run_cases(
            *(partial(_must_explain_refusal, workbench, proxy, what, *case) for what, case in no_tool.items())
        )
        # A proxy need not know the tools of its upstreams, but it knows whether a call has a name.
        named = [request.param("name") for request in upstream.requests("tools/call")]
        wrong = [name for name in named if name not in unknown] + other.requests("tools/call")
        workbench.expect(
            not wrong, "a call without a right name reaches no upstream under another one", wrong
        )
        with workbench.precondition("the right address works"):
            answer = await proxy.call("alpha", "echo", {"x": 1})
            workbench.expect(not answer.is_error, "a result", answer.raw)


async def _must_explain_refusal(
    workbench: Workbench, proxy: Proxy, what: str, tool: str, arguments: dict[str, Any]
) -> None:
    with workbench.case(what):
        answer = await proxy.request("tools/call", {"name": tool, "arguments": arguments}, within=10.0)
        workbench.expect(answer.is_error, "an error", answer.raw)
        workbench.expect(answer.text.strip(), "a text that helps", answer.raw)


@check("FRONT-016", timeout=40)
async def failed_groups_are_visible_and_harm_no_others(workbench: Workbench) -> None:
    good = workbench.stdio("good")
    broken = workbench.stdio("broken").variant(command=str(workbench.sandbox.root / "no-such-program"))
    async with workbench.proxy(broken, good) as proxy:
        with workbench.must("the other group works"):
            await proxy.handshake()
            await proxy.ready(good)
        answer = await proxy.call("good", "echo", {"x": 1})
        workbench.expect(not answer.is_error, "a call to the other group works", answer.raw)
        with (
            workbench.must("requests about the failed group get an answer"),
            workbench.case("within 12 s"),
        ):
            await _must_be_reported(workbench, proxy, broken)
        if can_name_a_tool(workbench):
            refused = await proxy.call("broken", "echo", within=1.0)
            workbench.expect(refused.is_error, "a call to the failed group fails at once", refused.raw)


async def _must_be_reported(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    deadline = time.monotonic() + 12.0
    while True:
        told: list[Answer] = [
            await proxy.request("tools/list", {}),
            await proxy.tools_of(upstream.name, within=12.0),
        ]
        seen = [answer.raw for answer in told]
        if can_name_a_tool(workbench):
            seen.append((await proxy.call(upstream.name, "echo", within=12.0)).raw)
        else:
            seen.append(proxy.stderr)
        if any(_names_group_and_reason(text, upstream.name) for text in seen):
            return
        workbench.expect(
            time.monotonic() < deadline, f"the client sees {upstream.name} with the reason within 12 s", seen
        )
        await anyio.sleep(0.2)


def _names_group_and_reason(text: str, group: str) -> bool:
    """Whether the text says what went wrong, in any words. That the group is unknown, or not connected, is no reason."""
    system = r"no-such-program|no such file|os error 2\b|ENOENT|cannot find the file"
    shell = r"(command|program|executable|file|binary) (was )?(not found|does not exist|is missing)|\b127\b"
    tries = r"(create|start|spawn|launch|run|execut|exec)\w*"
    own = rf"(fail\w*|unable|impossible|could ?n[o']t|cannot|can't|error)[^.]{{0,30}}\b{tries}|\b{tries} (failed|error)"
    return group in text and re.search(f"{system}|{shell}|{own}", text, re.IGNORECASE) is not None
