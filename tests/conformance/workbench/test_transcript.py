"""The client of the workbench answers what it is asked, by the script of the check."""

from __future__ import annotations

import sys

import pytest

from conformance.errors import Violation
from conformance.model.sut import Profile, Sut
from conformance.workbench import wiretypes
from conformance.workbench.workbench import open_workbench

#: for every request it gets, asks the method that the request names, and answers with what it was told
ASKS = """
import json, sys
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
pending = None
for line in sys.stdin:
    message = json.loads(line)
    if "method" in message:
        pending = message["id"]
        say(id="question", method=message["params"]["ask"], params={"message": "who?"})
    else:
        say(id=pending, result={"told": {name: message[name] for name in ("result", "error") if name in message}})
"""


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("vendor/scripted", {"result": {"name": "who?"}}),
        ("ping", {"result": {}}),
        ("vendor/other", {"error": {"code": -32601, "message": "Method not found"}}),
    ],
)
async def test_a_request_to_the_client_is_answered_and_kept(method: str, told: dict[str, object]) -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    async with open_workbench(sut, "TEST", keep=False) as workbench, workbench.proxy() as proxy:
        async with proxy.answering({"vendor/scripted": {"name": "$message"}}):
            answer = await proxy.request("vendor/ask", {"ask": method})
        assert answer.result == {"told": told}
        assert [heard.message["id"] for heard in proxy.transcript.asked(method)] == ["question"]


async def test_what_goes_wrong_meanwhile_comes_out_as_it_is() -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    with pytest.raises(Violation, match="the reason"):
        async with (
            open_workbench(sut, "TEST", keep=False) as workbench,
            workbench.proxy() as proxy,
            proxy.answering({}),
        ):
            raise Violation("the reason", "nothing")


async def test_a_proxy_whose_messages_are_not_of_the_protocol_fails_its_check() -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))

    async def list_tools(*, wire_types: bool) -> None:
        async with (
            open_workbench(sut, "TEST", keep=False) as workbench,
            workbench.proxy(wire_types=wire_types) as proxy,
            proxy.answering({}),
        ):
            await proxy.request("tools/list", {"ask": "ping"})

    await list_tools(wire_types=False)
    with pytest.raises(Violation, match="a valid tools/list result"):
        await list_tools(wire_types=True)


async def test_without_the_official_types_the_evidence_says_that_nothing_was_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiretypes, "official_types", lambda: None)
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    async with (
        open_workbench(sut, "TEST", keep=False) as workbench,
        workbench.proxy() as proxy,
        proxy.answering({}),
    ):
        await proxy.request("tools/list", {"ask": "ping"})
    notes = [event.text for event in workbench.evidence.events if event.kind == "note"]
    assert notes == ["mcp-types is not installed: the shapes of messages are not judged"]
