"""STD-012: reads and prompts whose answers come out of order. STD-015: a late answer on an event stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.errors import Untestable
from conformance.workbench.exposed import declares, exposed_prompt, exposed_uri
from mock_servers.script import Rule, Script, hold, on_call, release, reply, sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

_PROMPT = "greet"
#: seconds of the upstream for each read and each prompt, the first one the longest
_DELAYS = (0.6, 0.4, 0.2)


def _word(number: int) -> str:
    """What only the request with this number has, and the answer to it."""
    return f"one-{number}-of-several"


def _uri(number: int) -> str:
    return f"mock://{_word(number)}"


def reads_out_of_order() -> dict[str, Any]:
    """Members of a script: resources and a prompt, and a longer delay for each earlier request."""
    rules = []
    for number, delay in enumerate(_DELAYS):
        slow = [sleep(delay), reply()]
        rules.append(Rule("resources/read", slow, params={"uri": _uri(number)}))
        rules.append(Rule("prompts/get", slow, params={"arguments": {"x": _word(number)}}))
    return {
        "resources": [{"uri": _uri(number), "name": _word(number)} for number, _ in enumerate(_DELAYS)],
        "contents": {
            _uri(number): [{"uri": _uri(number), "text": _word(number)}] for number, _ in enumerate(_DELAYS)
        },
        "prompts": [{"name": _PROMPT, "arguments": [{"name": "x"}]}],
        "on": rules,
    }


async def steps_of_reads(
    workbench: Workbench, proxy: Proxy, group: str
) -> list[Callable[[], Awaitable[None]]]:
    """For each read and each prompt, as far as the proxy declares them: send it, and compare the answer with the request."""

    async def must_match(method: str, params: Json, number: int) -> None:
        answer = await proxy.request(method, params, within=10.0)
        found = [other for other, _ in enumerate(_DELAYS) if _word(other) in answer.raw]
        what = f"the answer to {method} with {_word(number)}"
        workbench.expect("result" in answer.message and found == [number], what, answer.raw)

    steps: list[Callable[[], Awaitable[None]]] = []
    for number, _ in enumerate(_DELAYS):
        if declares(proxy, "resources"):
            uri = await exposed_uri(proxy, group, _uri(number))
            steps.append(partial(must_match, "resources/read", {"uri": uri}, number))
        if declares(proxy, "prompts"):
            name = await exposed_prompt(proxy, group, _PROMPT)
            params = {"name": name, "arguments": {"x": _word(number)}}
            steps.append(partial(must_match, "prompts/get", params, number))
    return steps


def late_on_its_stream() -> Script:
    """A server that answers the call with `late` while the call with `next` waits."""
    return Script(
        on=[
            on_call("echo", hold("next", most=4.0), reply(), params={"arguments": {"x": "late"}}),
            on_call("echo", release("next"), sleep(0.5), reply(), params={"arguments": {"x": "next"}}),
        ]
    )


async def must_match_on_its_stream(workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream) -> None:
    """After a call that timed out, the next one gets its own answer. Not judged at an upstream that never gets ready."""
    try:
        await proxy.ready(upstream)
    except Untestable as problem:
        workbench.note(f"a late answer on an event stream was not judged: {problem}")
        return
    await proxy.call(upstream.name, "echo", {"x": "late"})
    answer = await proxy.call(upstream.name, "echo", {"x": "next"})
    is_own = not answer.is_error and "next" in answer.text and "late" not in answer.text
    workbench.expect(
        is_own, "over HTTP+SSE, the call after the one that timed out gets its own answer", answer.raw
    )
