"""FRONT: batches, which exist in one revision: lines on stdin, and bodies of a POST."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.front_session import HANDSHAKE_VERSIONS, must_serve
from conformance.errors import NotApplicable
from conformance.workbench.transcript import part

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench


#: the only revision with batches
WITH_BATCHES = "2025-03-26"
REQUESTS = [{"jsonrpc": "2.0", "id": f"b{n}", "method": "tools/list", "params": {}} for n in (1, 2)]
NOTIFICATIONS = [{"jsonrpc": "2.0", "method": "notifications/unknown"}] * 2


@check("FRONT-172", timeout=40)
async def batches_are_received_where_the_revision_has_them(workbench: Workbench) -> None:
    async with workbench.proxy(workbench.stdio("a")) as proxy:
        await proxy.handshake(WITH_BATCHES)
        negotiated = proxy.greeting.member("protocolVersion") if proxy.greeting else None
        if negotiated != WITH_BATCHES:
            raise NotApplicable(f"it does not speak {WITH_BATCHES}, but {negotiated}")
        if proxy.takes_bodies:
            await _must_receive_posted_batches(workbench, proxy)
        else:
            await _must_receive_batches(workbench, proxy)
        await must_serve(workbench, proxy)


async def _must_receive_batches(workbench: Workbench, proxy: Proxy) -> None:
    before = len(proxy.stdout_lines)

    def answers() -> list[Any]:
        """What answers the batches, each response for itself. An empty array stays one."""
        lines = [json.loads(line) for line in proxy.stdout_lines[before:]]
        responses = [one for line in lines for one in (line if isinstance(line, list) and line else [line])]
        return [one for one in responses if one == [] or "method" not in one]

    for batch in (REQUESTS, NOTIFICATIONS):
        await proxy.send_raw(json.dumps(batch).encode() + b"\n")
        what = "an answer to each request of the batch"
        await workbench.eventually(
            lambda: len(answers()) >= len(REQUESTS), within=10.0, what=what, seen=answers
        )
        await must_serve(workbench, proxy)
    # Two more answers are those to the ordinary requests.
    workbench.expect(len(answers()) == len(REQUESTS) + 2, "no answer to notifications", answers())
    _must_answer_each_request(
        workbench, [one for one in answers() if part(one, "id") in ("b1", "b2")], answers()
    )


async def _must_receive_posted_batches(workbench: Workbench, proxy: Proxy) -> None:
    reply = await proxy.post_body(json.dumps(REQUESTS).encode(), within=10.0)
    _must_answer_each_request(workbench, reply.answers, reply.seen)
    reply = await proxy.post_body(json.dumps(NOTIFICATIONS).encode(), within=10.0)
    workbench.expect(reply.status == 202 and not reply.answers, "202 for notifications alone", reply.seen)


def _must_answer_each_request(workbench: Workbench, answers: list[Any], seen: Any) -> None:
    ids = sorted(str(answer.get("id")) for answer in answers)
    workbench.expect(ids == ["b1", "b2"], "each request of the batch gets one answer", seen)
    workbench.expect(all("result" in answer for answer in answers), "each answer is a result", seen)


@check("FRONT-008", timeout=40)
async def batches_are_treated_as_the_negotiated_version_says(workbench: Workbench) -> None:
    async def must_be_right(version: str) -> None:
        async with workbench.proxy(workbench.stdio(f"for-{version}")) as proxy:
            await proxy.handshake(version)
            negotiated = proxy.greeting.member("protocolVersion") if proxy.greeting else None
            with workbench.precondition("a handshake version is negotiated"):
                workbench.expect(negotiated in HANDSHAKE_VERSIONS, "a handshake version", negotiated)
            with workbench.case(f"under {negotiated}"):
                await _must_treat_batches(workbench, proxy, str(negotiated))

    await workbench.run_cases(*(partial(must_be_right, version) for version in HANDSHAKE_VERSIONS))


async def _must_treat_batches(workbench: Workbench, proxy: Proxy, version: str) -> None:
    if proxy.takes_bodies:
        await _must_treat_posted_batches(workbench, proxy, version)
        return
    if version == WITH_BATCHES:
        (answer,) = await _answers_to_batch(workbench, proxy, REQUESTS, 1)
        together = isinstance(answer, list) and all(
            isinstance(member, dict) and "result" in member for member in answer
        )
        workbench.expect(together, "one array of results answers the two requests", answer)
        ids = [member.get("id") for member in answer]
        workbench.expect(ids in (["b1", "b2"], ["b2", "b1"]), "the array answers each request once", answer)
        await _answers_to_batch(workbench, proxy, NOTIFICATIONS, 0)
    elif version > WITH_BATCHES:
        # MCP 2024-11-05 says nothing about batches.
        for batch in (REQUESTS, NOTIFICATIONS):
            _must_be_invalid(workbench, await _answers_to_batch(workbench, proxy, batch, 1))
    _must_be_invalid(workbench, await _answers_to_batch(workbench, proxy, [], 1))


async def _must_treat_posted_batches(workbench: Workbench, proxy: Proxy, version: str) -> None:
    """Raise `Violation` for a missing or wrong answer.

    Over HTTP, the answers can be one array, or come one by one on an event stream. A status of 400 or more can be a refusal.
    """
    refused: list[list[Any]] = [[]]
    if version == WITH_BATCHES:
        await _must_receive_posted_batches(workbench, proxy)
    elif version > WITH_BATCHES:
        refused += [REQUESTS, NOTIFICATIONS]
    for batch in refused:
        reply = await proxy.post_body(json.dumps(batch).encode())
        is_refused = 400 <= reply.status < 500 or part(reply.error, "code") == -32600
        what = f"a status of 400 or more, or an error with code -32600, for {json.dumps(batch)}"
        workbench.expect(is_refused, what, reply.seen)
    await must_serve(workbench, proxy)


async def _answers_to_batch(workbench: Workbench, proxy: Proxy, batch: list[Any], count: int) -> list[Any]:
    """The lines that answer a batch. Waits for `count` of them, and for the answer to an ordinary request
    after them.
    """
    before = len(proxy.stdout_lines)

    def answers() -> list[Any]:
        lines = [json.loads(line) for line in proxy.stdout_lines[before:]]
        return [line for line in lines if isinstance(line, list) or "method" not in line]

    text = json.dumps(batch)
    await proxy.send_raw(text.encode() + b"\n")
    what = f"{count} answers to {text}"
    await workbench.eventually(
        lambda: len(answers()) >= count, within=2.0, what=what, seen=lambda: f"{len(answers())} answers"
    )
    await must_serve(workbench, proxy)
    workbench.expect(len(answers()) == count + 1, f"{what}, and one to the request after it", answers())
    return answers()[:count]


def _must_be_invalid(workbench: Workbench, answers: list[Any]) -> None:
    (answer,) = answers
    workbench.expect(part(answer, "error", "code") == -32600, "one error with code -32600", answer)
