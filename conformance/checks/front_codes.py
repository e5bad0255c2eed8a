"""FRONT: malformed input, and the codes of errors, which the specifications recommend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.checks.front_capabilities import PROMISED
from conformance.checks.front_session import must_serve
from conformance.workbench.exposed import declared_methods, declares
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.transcript import part
from mock_servers.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transports.bodies import BodyReply
    from conformance.workbench.workbench import Workbench

METHOD_NOT_FOUND, INVALID_PARAMS, NOT_FOUND = -32601, -32602, -32002


@check("FRONT-045", timeout=40)
async def common_failures_have_the_codes_of_the_specification(workbench: Workbench) -> None:
    """A second proxy has an upstream with all features off except tools, so it may declare less."""
    script = Script(resources=[{"uri": "mock://one", "name": "one"}], prompts=[{"name": "greet"}])
    async with workbench.serving(workbench.stdio("a", script)) as proxy:
        for method in ("tools/list", *declared_methods(proxy, LISTS)):
            await _must_have_code(workbench, proxy, method, {"cursor": "an unknown cursor"}, INVALID_PARAMS)
        if declares(proxy, "prompts"):
            await _must_have_code(workbench, proxy, "prompts/get", {"name": "unknown"}, INVALID_PARAMS)
            await _must_have_code(workbench, proxy, "prompts/get", {"arguments": {}}, INVALID_PARAMS)
        if declares(proxy, "resources"):
            unknown = {"uri": "unknown://resource"}
            await _must_have_code(workbench, proxy, "resources/read", unknown, INVALID_PARAMS, NOT_FOUND)
        await _must_not_know_undeclared_methods(workbench, proxy)
        tool = await proxy.request("tools/call", {"name": "no_such_tool", "arguments": {}}, within=10.0)
        is_right = tool.code == INVALID_PARAMS or (tool.error is None and tool.is_error)
        workbench.expect(is_right, "code -32602, or isError, for an unknown tool", tool.raw)
    if "features" not in workbench.sut.profile.config.drop:
        tools_only = workbench.stdio("toolsonly", features={"resources": False, "prompts": False})
        async with workbench.serving(tools_only) as proxy:
            await _must_not_know_undeclared_methods(workbench, proxy)


async def _must_not_know_undeclared_methods(workbench: Workbench, proxy: Proxy) -> None:
    for method, (capability, _, params) in PROMISED.items():
        if not declares(proxy, capability):
            await _must_have_code(workbench, proxy, method, params, METHOD_NOT_FOUND)


async def _must_have_code(
    workbench: Workbench, proxy: Proxy, method: str, params: dict[str, Any], *codes: int
) -> None:
    answer = await proxy.request(method, params, within=10.0)
    with workbench.case(f"{method} {json.dumps(params)}"):
        workbench.expect(
            answer.code in codes, f"an error with code {' or '.join(map(str, codes))}", answer.raw
        )


#: the id of a request in another version of JSON-RPC, which a program may answer
_OTHER_VERSION = "version"
#: lines that are no request, each with the code and the id of the right answer
MALFORMED: dict[str, tuple[int, str | None]] = {
    '{"jsonrpc": "2.0", "id": "lost", ': (-32700, None),
    "{}": (-32600, None),
    f'{{"jsonrpc": "1.0", "id": "{_OTHER_VERSION}", "method": "ping"}}': (-32600, _OTHER_VERSION),
    '{"jsonrpc": "2.0", "id": "number", "method": 7}': (-32600, "number"),
    "7": (-32600, None),
    '"ping"': (-32600, None),
}


@check("FRONT-006", timeout=40)
async def malformed_input_does_not_end_the_service(workbench: Workbench) -> None:
    async with workbench.serving(workbench.stdio("a")) as proxy:
        with workbench.precondition("the proxy answers requests"):
            await must_serve(workbench, proxy)
        judged = 0
        for number, line in enumerate(MALFORMED):
            with workbench.case(line):
                if proxy.takes_bodies:
                    reply = await proxy.post_body(line.encode())
                    workbench.expect(not _results(reply.answers), "no result for malformed input", reply.seen)
                else:
                    await proxy.send_raw(line.encode() + b"\n")
                # The answer to this request comes after what the proxy says about the line.
                answer = await proxy.request("no/such/method", id=f"unknown-{number}")
                workbench.expect(answer.code == -32601, "-32601 for an unknown method", answer.raw)
                await must_serve(workbench, proxy)
                judged = _gets_no_result(workbench, proxy, judged)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})
        # What comes later belongs to no single line.
        _gets_no_result(workbench, proxy, judged)
        answers = [message for message in proxy.received if "method" not in message]
        most = f"at most one answer to each of {len(MALFORMED)} lines"
        workbench.expect(len(answers) <= len(MALFORMED), most, answers)


def _gets_no_result(workbench: Workbench, proxy: Proxy, judged: int) -> int:
    """Judge the answers that came since, and return how many there are now."""
    answers = [message for message in proxy.received if "method" not in message]
    results = _results(answers[judged:])
    workbench.expect(not results, "no result for malformed input", results)
    return len(answers)


def _results(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in answers if "error" not in one and one.get("id") != _OTHER_VERSION]


@check("FRONT-046", timeout=40)
async def malformed_input_gets_the_codes_of_json_rpc(workbench: Workbench) -> None:
    async with workbench.proxy(workbench.stdio("a")) as proxy:
        await proxy.handshake()
        with workbench.precondition("the proxy answers requests"):
            await must_serve(workbench, proxy)
        for line, (code, identity) in MALFORMED.items():
            with workbench.case(line):
                if proxy.takes_bodies:
                    reply = await proxy.post_body(line.encode())
                    if not _handles_other_version(reply.answers):
                        _must_refuse_line(workbench, line, reply, code, identity)
                    continue
                answer = await _answer_to_raw(workbench, proxy, line)
                if _handles_other_version([answer]):
                    continue
                workbench.expect(part(answer, "error", "code") == code, f"an error with code {code}", answer)
                workbench.expect(answer.get("id") == identity, f"the id {json.dumps(identity)}", answer)
        with workbench.case("a good request afterwards"):
            await must_serve(workbench, proxy)
        answers = [message for message in proxy.received if "method" not in message]
        count = 0 if proxy.takes_bodies else len(MALFORMED)
        workbench.expect(len(answers) == count, "each line gets one answer", answers)


def _handles_other_version(answers: list[dict[str, Any]]) -> bool:
    return [one.get("id") for one in answers if "result" in one] == [_OTHER_VERSION]


def _must_refuse_line(
    workbench: Workbench, line: str, reply: BodyReply, code: int, identity: str | None
) -> None:
    """Raise `Violation` for another refusal. Over HTTP, the status can be the whole refusal, and an error in the body needs no id."""
    if reply.refuses:
        return
    what = f"an error with code {code}, or a status of 400 or more without an error"
    workbench.expect(part(reply.error, "code") == code, what, reply.seen)
    found = reply.answers[0].get("id")
    is_right = found in (None, identity) or (isinstance(found, str) and json.dumps(found) in line)
    workbench.expect(is_right, "no id, or that of the line", reply.seen)


async def _answer_to_raw(workbench: Workbench, proxy: Proxy, line: str) -> dict[str, Any]:
    def answers() -> list[dict[str, Any]]:
        return [message for message in proxy.received if "method" not in message]

    before = len(answers())
    await proxy.send_raw(line.encode() + b"\n")
    found = await workbench.eventually(lambda: answers()[before:], within=1.0, what="an answer within 1 s")
    return found[0]
