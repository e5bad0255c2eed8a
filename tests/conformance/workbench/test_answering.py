"""The client answers the requests of the proxy as the check scripts it, and every message is judged by its type."""

from __future__ import annotations

import sys

import pytest

from conformance.errors import Violation
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench import wiretypes
from conformance.workbench.workbench import open_workbench

#: upon each request sends a request of the method that `ask` names, then answers with the answer to that
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
async def test_answering_answers_a_request_and_the_transcript_keeps_it(
    method: str, told: dict[str, object]
) -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    async with open_workbench(sut, "TEST", keep=False) as workbench, workbench.proxy() as proxy:
        async with proxy.answering({"vendor/scripted": {"name": "$message"}}):
            answer = await proxy.request("vendor/ask", {"ask": method})
        assert answer.result == {"told": told}
        assert [heard.message["id"] for heard in proxy.transcript.asked(method)] == ["question"]


@pytest.mark.parametrize(("method", "result"), [("ping", {}), ("roots/list", {"roots": []})])
async def test_the_client_answers_ping_and_roots_without_a_script(
    method: str, result: dict[str, object]
) -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    async with open_workbench(sut, "TEST", keep=False) as workbench, workbench.proxy() as proxy:
        answer = await proxy.request("vendor/ask", {"ask": method})
    assert answer.result == {"told": {"result": result}}


@pytest.mark.slow
async def test_a_silent_client_answers_nothing() -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    async with open_workbench(sut, "TEST", keep=False) as workbench, workbench.proxy() as proxy:
        proxy.answers.stay_silent()
        with pytest.raises(Violation, match="an answer to vendor/ask within 1 s"):
            await proxy.request("vendor/ask", {"ask": "ping"}, within=1.0)


async def test_answering_raises_an_exception_unchanged() -> None:
    sut = Sut("asks", (sys.executable, "-I", "-S", "-c", ASKS, "{config}"), Profile("asks"))
    with pytest.raises(Violation, match="the reason"):
        async with (
            open_workbench(sut, "TEST", keep=False) as workbench,
            workbench.proxy() as proxy,
            proxy.answering({}),
        ):
            raise Violation("the reason", "nothing")


async def test_a_message_outside_the_protocol_fails_the_check() -> None:
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


async def test_evidence_notes_that_the_official_types_are_missing(
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
