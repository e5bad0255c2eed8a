"""An answer belongs to one request, and a request has at most one answer."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from conformance.errors import Violation
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench import pairing
from conformance.workbench.transcript import Transcript
from conformance.workbench.workbench import open_workbench

RESULT: dict[str, Any] = {"result": {}}
ERROR: dict[str, Any] = {"error": {"code": -32600, "message": "no"}}


def request(id: Any = 1, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "ping", **more}


def answer(id: Any = 1, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, **(more or RESULT)}


NOTIFICATION = {"jsonrpc": "2.0", "method": "notifications/x"}
ASKED = {"jsonrpc": "2.0", "id": 1, "method": "roots/list"}


def judge(*lines: tuple[str, Any]) -> None:
    """Judge a conversation of lines that the client sent (">") or received ("<"); a text is a line as it stands."""
    transcript = Transcript()
    for direction, value in lines:
        line = value if isinstance(value, str) else json.dumps(value)
        if direction == ">":
            transcript.sent(line.encode() + b"\n")
        else:
            transcript.received(line)
    pairing.judge(transcript)


@pytest.mark.parametrize(
    "lines",
    [
        [(">", request()), ("<", answer())],
        [(">", request()), (">", request("1")), ("<", answer("1")), ("<", answer(1, **ERROR))],
        [(">", request()), ("<", answer()), (">", request()), ("<", answer())],
        [(">", request()), (">", request()), ("<", answer()), ("<", answer())],
        [(">", request())],
        [(">", [request(1), request(2)]), ("<", [answer(2), answer(1)])],
        [(">", [request(1)]), ("<", answer(None, **ERROR))],
        [(">", []), ("<", answer(None, **ERROR))],
        [(">", "{"), ("<", {"jsonrpc": "2.0", **ERROR})],
        [(">", "7"), ("<", answer(None, **ERROR))],
        [(">", request(params=[])), ("<", answer(None, **ERROR))],
        [(">", request(1.5)), ("<", answer(1.5))],
        [(">", request(method=7)), ("<", answer(1, **ERROR))],
        [(">", {"jsonrpc": "2.0", "id": 1}), ("<", answer(1, **ERROR))],
        [(">", json.dumps(request(text="x" * (1 << 20)))), ("<", answer(None, **ERROR))],
        [(">", request(2**53 + 1)), ("<", answer(2**53))],
        [("<", ASKED), (">", answer(1)), (">", NOTIFICATION), ("<", NOTIFICATION)],
    ],
)
def test_one_answer_to_each_request_holds(lines: list[tuple[str, Any]]) -> None:
    judge(*lines)


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ([(">", request()), ("<", answer()), ("<", answer())], "a second answer to ping (id 1), after"),
        (
            [(">", request()), ("<", answer()), ("<", answer(1, **ERROR))],
            "a second answer to ping (id 1), after",
        ),
        (
            [(">", request()), ("<", answer("1"))],
            'the id "1", but the client sent no such request, only one with the id 1',
        ),
        ([(">", request(0)), ("<", answer(False))], "an answer with the id false"),
        ([("<", answer(7))], "an answer with the id 7, but the client sent no such request"),
        ([(">", NOTIFICATION), ("<", answer(None, **ERROR))], "an answer without an id"),
        ([(">", "{"), ("<", answer(None))], "an answer without an id"),
        ([(">", "{"), ("<", answer(None, **ERROR)), ("<", answer(None, **ERROR))], "an answer without an id"),
        ([("<", ASKED), (">", answer(1)), ("<", answer(1))], "an answer with the id 1"),
        ([(">", [request(1)]), ("<", [answer(1), answer(2)])], "an answer with the id 2"),
        ([(">", request(2**53 - 1)), ("<", answer(2**53))], "an answer with the id 9007199254740992"),
    ],
)
def test_every_other_answer_is_a_violation(lines: list[tuple[str, Any]], seen: str) -> None:
    with pytest.raises(Violation) as raised:
        judge(*lines)
    assert seen in raised.value.seen
    assert json.dumps(answer().get("jsonrpc")) in raised.value.seen  # the line itself


PINGS_TWICE = """
import json, sys
for line in sys.stdin:
    answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {}}
    print(json.dumps(answer), json.dumps(answer), sep="\\n", flush=True)
"""


async def test_the_workbench_judges_every_conversation_unless_the_check_provokes_it() -> None:
    sut = Sut("program", (sys.executable, "-I", "-S", "-c", PINGS_TWICE, "{config}"), Profile("program"))
    async with open_workbench(sut, "TEST", keep=False) as workbench:
        async with workbench.proxy(one_answer_each=False) as proxy:
            await proxy.request("ping")
        with pytest.raises(Violation, match="a second answer to ping"):
            async with workbench.proxy() as proxy:
                await proxy.request("ping")


def test_the_last_line_needs_no_line_end_and_a_line_that_is_not_utf8_may_get_an_error_without_an_id() -> None:
    transcript = Transcript()
    transcript.sent(b'{"jsonrpc": "2.0", "method": "\xff"}\n' + json.dumps(request("last")).encode())
    transcript.sent_all()
    transcript.received(json.dumps(answer(None, **ERROR)))
    transcript.received(json.dumps(answer("last")))
    pairing.judge(transcript)
    transcript.received(json.dumps(answer(None, **ERROR)))
    with pytest.raises(Violation, match="one answer to each request"):
        pairing.judge(transcript)
