"""Notifications and requests of a server with members of wrong types."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from dynamic_mcp.frontend.valid_answers import valid_answer
from dynamic_mcp.frontend.valid_notifications import valid_params
from dynamic_mcp.frontend.valid_questions import valid_question
from dynamic_mcp.protocol.jsonrpc import Refusal
from tests.dynamic_mcp.fakes import Client

UPDATED, COMPLETE = "notifications/resources/updated", "notifications/elicitation/complete"
ELICIT, SAMPLE, ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"
MESSAGES = [{"role": "user", "content": {"type": "text", "text": "x"}}]
FORM = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        (UPDATED, '{"uri":"x://1","_meta":5}', {"uri": "x://1"}),
        (UPDATED, '{"uri":5}', None),
        (UPDATED, "{}", None),
        (UPDATED, "[]", None),
        (UPDATED, "", None),
        (COMPLETE, '{"elicitationId":"a","_meta":[]}', {"elicitationId": "a"}),
        (COMPLETE, "null", None),
    ],
)
def test_a_wrong_notification_is_repaired_or_dropped(method: str, params: str, expected: object) -> None:
    oddities: list[str] = []
    found = valid_params(method, Raw(params.encode()), oddities.append)
    assert (None if found is None else json.loads(found)) == expected
    does = "drops" if expected is None else "repairs"
    assert oddities == [f"sends {method} with wrong or missing members, which the proxy {does}"]


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        (ELICIT, {"message": "m"}, {"message": "m", "requestedSchema": FORM}),
        (ELICIT, {"message": "m", "requestedSchema": None}, {"message": "m", "requestedSchema": FORM}),
        (
            ELICIT,
            {"message": "m", "requestedSchema": FORM, "_meta": 1},
            {"message": "m", "requestedSchema": FORM},
        ),
        (ELICIT, {"mode": "url", "url": "x", "elicitationId": 5}, {"mode": "url", "url": "x"}),
        (ELICIT, {"message": "m", "requestedSchema": {}}, {"message": "m", "requestedSchema": FORM}),
        (
            ELICIT,
            {"message": "m", "requestedSchema": {"properties": {"a": {}}, "required": "a"}},
            {"message": "m", "requestedSchema": {"type": "object", "properties": {"a": {}}}},
        ),
        (
            SAMPLE,
            {"messages": MESSAGES, "maxTokens": 9, "temperature": "hot"},
            {"messages": MESSAGES, "maxTokens": 9},
        ),
        *(
            (SAMPLE, {"messages": MESSAGES, **bound}, {"messages": MESSAGES, "maxTokens": 4096})
            for bound in ({}, {"maxTokens": None}, {"maxTokens": "many"})
        ),
        (
            SAMPLE,
            {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 5}], "maxTokens": 9},
            {"messages": MESSAGES, "maxTokens": 9},
        ),
        (
            SAMPLE,
            {
                "messages": MESSAGES,
                "maxTokens": 9,
                "modelPreferences": {
                    "hints": ["x", {"name": "a"}, {"name": 5}],
                    "costPriority": 2,
                    "speedPriority": 1,
                },
            },
            {
                "messages": MESSAGES,
                "maxTokens": 9,
                "modelPreferences": {"hints": [{"name": "a"}, {}], "speedPriority": 1},
            },
        ),
        (
            SAMPLE,
            {"messages": [*MESSAGES, {"role": "system"}], "maxTokens": 9},
            {"messages": MESSAGES, "maxTokens": 9},
        ),
        (ROOTS, {"_meta": 5}, {}),
        (ROOTS, [], None),
    ],
)
def test_a_wrong_request_is_repaired(method: str, params: object, expected: object) -> None:
    oddities: list[str] = []
    found = valid_question(method, json.dumps(params).encode(), oddities.append)
    assert (json.loads(found) if found else None) == expected
    assert oddities == [f"sends {method} with wrong or missing members, which the proxy repairs"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (ELICIT, '{"message":"m","requestedSchema":"x"}'),
        (ELICIT, '{"message":"m","mode":"url"}'),
        (ELICIT, "[]"),
        (SAMPLE, "{}"),
        (SAMPLE, ""),
        (SAMPLE, '{"messages":"x","maxTokens":9}'),
        (ELICIT, '{"message":"m","requestedSchema":{"type":"string"}}'),
    ],
)
def test_a_request_that_cannot_be_repaired_is_refused(method: str, params: str) -> None:
    oddities: list[str] = []
    with pytest.raises(Refusal, match=rf"^the params of {method} are invalid"):
        valid_question(method, params.encode(), oddities.append)
    assert len(oddities) == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (
            ELICIT,
            '{ "message":"m","requestedSchema":{"type":"object","properties":{}},"mode":"form","more":1}',
        ),
        (ELICIT, '{ "message":"m","mode":"url","url":"x","elicitationId":"a"}'),
        (SAMPLE, json.dumps({"messages": MESSAGES, "maxTokens": 9, "stopSequences": ["x"], "tools": [{}]})),
        (ROOTS, ""),
        (ROOTS, "{ }"),
        ("other", "[ ]"),
    ],
)
def test_a_right_request_keeps_its_bytes(method: str, params: str) -> None:
    value, oddities = params.encode(), list[str]()
    assert valid_question(method, value, oddities.append) is value
    assert oddities == []


@pytest.mark.parametrize(
    ("method", "params"),
    [(SAMPLE, {"messages": MESSAGES, "maxTokens": 9}), (ELICIT, {"message": "m"}), (ROOTS, {})],
)
def test_a_request_with_very_many_members_is_refused(method: str, params: dict[str, object]) -> None:
    many = {**params, **{str(number): 1 for number in range(40_000)}}
    with pytest.raises(Refusal, match="too many unknown members"):
        valid_question(method, json.dumps(many).encode(), lambda what: None)


@pytest.mark.parametrize(
    ("method", "result", "expected"),
    [
        (ELICIT, {"action": "decline", "content": None}, {"action": "decline"}),
        (
            ELICIT,
            {"action": "accept", "_meta": None, "content": {"x": None}},
            {"action": "accept", "content": {"x": None}},
        ),
        (SAMPLE, {"role": "assistant", "stopReason": None}, {"role": "assistant"}),
        (ROOTS, {"roots": [{"uri": "file:///x", "name": None}]}, {"roots": [{"uri": "file:///x"}]}),
        (ROOTS, {"roots": None}, {"roots": None}),
        (ROOTS, {"roots": ["x", None]}, {"roots": ["x", None]}),
        (ELICIT, None, None),
        (ELICIT, [None], [None]),
        ("other", {"content": None}, {"content": None}),
    ],
)
def test_an_answer_of_the_client_has_no_optional_member_that_is_null(
    method: str, result: object, expected: object
) -> None:
    assert json.loads(valid_answer(method, json.dumps(result).encode())) == expected


def test_an_answer_without_null_keeps_its_bytes() -> None:
    result = b'{ "action": "accept" }'
    assert valid_answer(ELICIT, result) is result


async def test_null_for_the_arguments_of_a_prompt_counts_as_absent() -> None:
    client = Client()
    await client.ask("prompts/get", {"name": "echo", "arguments": None, "x": None})
    assert client.upstream.last_params == {"name": "echo", "x": None}
