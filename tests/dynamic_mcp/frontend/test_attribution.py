"""Questions name the group that asks, and notifications count for what their sender has."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.frontend import attribution as module
from dynamic_mcp.frontend import storms
from dynamic_mcp.frontend.attribution import Elicitations, attributed, attributed_refusal, attributed_result
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol.jsonrpc import Message, Refusal
from tests.dynamic_mcp.fakes import Client, FakeGroup, FakeUpstream, named, server

ELICIT, SAMPLE = "elicitation/create", "sampling/createMessage"
COMPLETE = "notifications/elicitation/complete"
UPDATED, LOG = "notifications/resources/updated", "notifications/message"


def shown(method: str, params: str) -> Any:
    return json.loads(attributed("evil", method, params.encode()))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('"m"', "[evil] m"),
        ('"[bank] m"', "[evil] [bank] m"),
        (r'"\r\u001b[2K\b[bank] a\r\nb\n\tc"', "[evil] \ufffd\ufffd[2K\ufffd[bank] a\nb\n\tc"),
        (r'"\ud83d\ude00"', "[evil] \U0001f600"),
        ('"1","message":"2"', "[evil] 2"),
    ],
)
def test_message_of_an_elicitation_begins_with_the_group(message: str, expected: str) -> None:
    for mode in ("", '"mode":"url",', '"mode":"form",'):
        params = f'{{{mode}"requestedSchema":{{"big":12345678901234567890123}},"message":{message}}}'
        found = attributed("evil", ELICIT, params.encode())
        assert json.loads(found)["message"] == expected
        assert found.count(b'"message"') == 1
        assert b'{"big":12345678901234567890123}' in found


def test_a_question_without_a_text_gets_one() -> None:
    assert shown(ELICIT, "") == {"message": "[evil] "}
    assert "evil" in shown(SAMPLE, "{}")["systemPrompt"]


def test_system_prompt_of_a_sampling_request_stays_after_the_name() -> None:
    prompt = shown(SAMPLE, r'{"systemPrompt":"be brief \ud83d\ude00 \u0000"}')["systemPrompt"]
    assert prompt.endswith("\n\nbe brief \U0001f600 \0")
    assert '"evil"' in prompt


@pytest.mark.parametrize(
    ("method", "params"),
    [(ELICIT, "[]"), (ELICIT, '{"message":5}'), (SAMPLE, '"x"'), (SAMPLE, '{"systemPrompt":{}}')],
)
def test_a_question_that_cannot_be_named_is_refused(method: str, params: str) -> None:
    with pytest.raises(Refusal, match="invalid"):
        attributed("evil", method, params.encode())


def test_other_requests_stay_the_same_bytes() -> None:
    assert attributed("evil", "roots/list", b'{ "x" : 1 }') == b'{ "x" : 1 }'


FORM = {"type": "object", "properties": {}}


@pytest.mark.parametrize("member", ["inputRequests", r"\u0069nputRequests"])
def test_questions_in_a_result_have_the_name(member: str) -> None:
    questions = '{"a":{"method":"elicitation/create","params":{"message":"m","mode":null},"future":1},"b":{"method":"roots/list"}}'
    result = f'{{"resultType":"input_required","{member}":{questions},"requestState":"\\u0041"}}'
    found = attributed_result("evil", result.encode())
    assert json.loads(found)["inputRequests"] == {
        "a": {"method": ELICIT, "params": {"message": "[evil] m", "requestedSchema": FORM}, "future": 1},
        "b": {"method": "roots/list"},
    }
    assert b'"requestState":"\\u0041"' in found


@pytest.mark.parametrize(
    "result", ['{"content":["\\"inputRequests\\" \\u0041"]}', '{"content":[]}', "5", '"\\u0041"']
)
def test_a_result_without_questions_stays_the_same_bytes(result: str) -> None:
    assert attributed_result("evil", result.encode()) == result.encode()


@pytest.mark.parametrize(
    "questions", ["[]", '{"a":1}', '{"a":{}}', '{"a":{"method":"elicitation/create","params":[]}}']
)
def test_questions_that_cannot_be_read_fail_the_call(questions: str) -> None:
    with pytest.raises(UpstreamFailed, match="cannot be read"):
        attributed_result("evil", f'{{"inputRequests":{questions}}}'.encode())


def refusal_with(*elicitations: object) -> UpstreamRefused:
    error = {"code": -32042, "message": "m", "data": {"elicitations": elicitations, "more": 1}}
    return UpstreamRefused(json.dumps(error).encode())


async def test_an_error_that_asks_for_elicitations_has_the_name() -> None:
    group, begun = FakeGroup(server("evil")), Elicitations()
    found = attributed_refusal(
        group, refusal_with({"mode": "url", "elicitationId": "x", "message": "m"}), begun
    )
    assert json.loads(found.error)["data"] == {
        "elicitations": [{"mode": "url", "elicitationId": "x", "message": "[evil] m"}],
        "more": 1,
    }
    assert begun.complete(group, Raw(b'{"elicitationId":"x"}'))
    with pytest.raises(UpstreamFailed, match="cannot be read"):
        attributed_refusal(group, refusal_with(5), begun)
    other = UpstreamRefused(b'{ "code":-32000,"message":"m"}')
    assert attributed_refusal(group, other, begun) is other


async def test_elicitations_belong_to_their_group_and_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ELICITATIONS", 2)
    bank, evil, begun = FakeGroup(server("bank")), FakeGroup(server("evil")), Elicitations()
    for id in ("old", "x", "y"):
        begun.add(bank, json.dumps({"elicitationId": id}).encode())
    begun.add(bank, json.dumps({"elicitationId": "z" * (module.MAX_ID + 1)}).encode())
    begun.add(bank, b"[]")
    for number in range(9):
        begun.add(evil, json.dumps({"elicitationId": str(number)}).encode())
    complete = [begun.complete(group, Raw(b'{"elicitationId":"x"}')) for group in (evil, bank, bank)]
    assert complete == [False, True, False]
    assert not begun.complete(bank, Raw(b'{"elicitationId":"old"}'))
    assert not begun.complete(bank, Raw(b"5"))
    assert begun.complete(bank, Raw(b'{"elicitationId":"y"}'))


class Relayed:
    """A legacy client that heard these messages of two groups."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.bank, self.evil = (
            FakeGroup(server("bank"), FakeUpstream()),
            FakeGroup(server("evil"), FakeUpstream()),
        )
        self.session = ClientSession(self.lines.append)
        self.session.initialize(Raw(b'{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}}}'))
        self.session.initialized()
        self.relay = Relay(self.session, named(self.bank, self.evil))

    def notify(self, group: Group, method: str, params: str) -> None:
        self.relay.on_notification(group, Message(method=method, params=Raw(params.encode())))

    @property
    def heard(self) -> list[Any]:
        return [json.loads(line)["params"] for line in self.lines]


async def test_an_update_counts_from_the_group_of_the_subscription() -> None:
    client = Relayed()
    client.bank.subscriptions.holders.add("x://1", client.session)
    client.evil.subscriptions.holders.add("x://2", object())
    client.notify(client.evil, UPDATED, '{"uri":"x://1"}')
    client.notify(client.evil, UPDATED, '{"uri":"x://1","uri":"x://2"}')
    assert client.heard == []
    client.notify(client.bank, UPDATED, '{"uri":"x://9","uri":"x://1","_meta":{},"more":1}')
    assert client.heard == [{"uri": "x://1", "more": 1}]
    assert client.lines[0].count(b'"uri"') == 1


@pytest.mark.parametrize(
    ("subscribed", "updated"),
    [("x://1", "x://1/a/b"), ("x://1", "x://1#a"), ("x://1", "x://1?a"), ("x://1/", "x://1/a")],
)
async def test_an_update_within_a_subscribed_resource_reaches_the_subscriber_once(
    subscribed: str, updated: str
) -> None:
    client = Relayed()
    for uri in (subscribed, updated[:-1]):
        client.bank.subscriptions.holders.add(uri, client.session)
    client.notify(client.bank, UPDATED, json.dumps({"uri": updated}))
    assert client.heard == [{"uri": updated}]


async def test_an_update_beside_a_subscribed_resource_counts_for_nothing() -> None:
    client = Relayed()
    client.bank.subscriptions.holders.add("x://1/a", client.session)
    client.bank.subscriptions.holders.add("x://2", object())
    for uri in ("x://1", "x://1/", "x://1/ab", "y://1/a", "x://1/A/b", "x://2/a", ""):
        client.notify(client.bank, UPDATED, json.dumps({"uri": uri}))
    client.notify(client.evil, UPDATED, '{"uri":"x://1/a/b"}')
    assert client.heard == []


async def test_updates_within_a_subscribed_resource_have_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their URIs are those of the server, so their number has no bound."""
    monkeypatch.setattr(storms, "RATE", 0.0)
    client = Relayed()
    client.bank.subscriptions.holders.add("x://1", client.session)
    for number in range(2 * storms.BURST):
        client.notify(client.bank, UPDATED, json.dumps({"uri": f"x://1/{number}"}))
    assert storms.BURST // 2 < len(client.heard) <= storms.BURST
    client.notify(client.bank, UPDATED, '{"uri":"x://1"}')
    assert client.heard[-1] == {"uri": "x://1"}
    client.relay.close()


async def test_the_end_of_an_elicitation_counts_from_its_group() -> None:
    client = Relayed()
    client.session.elicitations.add(client.bank, b'{"elicitationId":"x"}')
    client.session.elicitations.add(client.evil, b'{"elicitationId":"own"}')
    client.notify(client.evil, COMPLETE, '{"elicitationId":"x"}')
    client.notify(client.evil, COMPLETE, '{"elicitationId":"x","elicitationId":"own"}')
    client.notify(client.bank, COMPLETE, '{"elicitationId":"x"}')
    client.notify(client.bank, COMPLETE, '{"elicitationId":"x"}')
    assert client.heard == [{"elicitationId": "own"}, {"elicitationId": "x"}]
    assert all(line.count(b'"elicitationId"') == 1 for line in client.lines)


async def test_a_client_without_the_capability_is_not_asked_even_wrongly() -> None:
    client = Relayed()
    with pytest.raises(Refusal) as caught:
        await client.relay.on_request(client.evil, Message(method=SAMPLE, params=Raw(b"[]")), ())
    assert caught.value.code == -32601


REPEATED = [
    '"group":"off","group":"files","name":"other","name":"echo","args":{"x":1},"args":{"x":2}',
    '"group":"off","\\u0067roup":"files","n\\u0061me":"echo","args":"{\\"x\\":2}"',
]


@pytest.mark.parametrize("arguments", REPEATED)
async def test_what_the_hooks_see_of_a_call_is_what_the_upstream_gets(arguments: str) -> None:
    client = Client()
    call = '"name":"get_dynamic_tools","name":"call_dynamic_tool"'
    client.send(
        f'{{"jsonrpc":"2.0","id":0,"id":1,"method":"ping","method":"tools/call",'
        f'"params":{{}},"params":{{{call},"arguments":{{}},"arguments":{{{arguments}}}}}}}'.encode()
    )
    (answer,) = await client.answers(1)
    assert answer["id"] == 1
    ((method, params),) = client.upstream.requests
    assert method == "tools/call"
    assert msgspec.json.decode(params) == {"name": "echo", "arguments": {"x": 2}}
    assert params.count(b'"name"') == params.count(b'"arguments"') == params.count(b'"x"') == 1


MANY = ",".join(f'"{number}":1' for number in range(40_000))


@pytest.mark.parametrize(
    ("questions", "reason"),
    [
        (
            ",".join(f'"{number}":{{}}' for number in range(module.MAX_QUESTIONS + 1)),
            "asks more than 64 questions at once",
        ),
        (f'"a":{{"method":"roots/list",{MANY}}}', "cannot be read"),
        (f'"a":{{"method":"{ELICIT}","params":{{{MANY}}}}}', "cannot be read"),
        (f'"a":{{"method":"roots/list","params":"{"x" * module.MAX_QUESTIONS_SIZE}"}}', "larger than 8 MiB"),
    ],
    ids=["number", "members", "params", "size"],
)
def test_questions_in_a_result_have_bounds(questions: str, reason: str) -> None:
    with pytest.raises(UpstreamFailed, match=reason):
        attributed_result("evil", f'{{"inputRequests":{{{questions}}}}}'.encode())


def test_result_with_questions_has_few_other_members() -> None:
    with pytest.raises(UpstreamFailed, match="cannot be read"):
        attributed_result("evil", f'{{"inputRequests":{{}},{MANY}}}'.encode())
    other = f"{{{MANY}}}".encode()
    assert attributed_result("evil", other) is other


async def test_elicitations_of_an_error_have_a_bound() -> None:
    many = refusal_with(*[{}] * (module.MAX_QUESTIONS + 1))
    with pytest.raises(UpstreamFailed, match="asks more than 64 questions at once"):
        attributed_refusal(FakeGroup(server("evil")), many, Elicitations())


async def test_updates_and_log_messages_with_very_many_members_are_dropped() -> None:
    client = Relayed()
    client.bank.subscriptions.holders.add("x://1", client.session)
    client.notify(client.bank, UPDATED, f'{{"uri":"x://1",{MANY}}}')
    client.notify(client.bank, LOG, f'{{"level":"error","data":"a",{MANY}}}')
    client.notify(client.bank, LOG, f'{{"level":"error","data":"{"x" * (4 << 20)}"}}')
    assert client.heard == []
    client.notify(client.bank, UPDATED, '{"uri":"x://1"}')
    client.notify(client.bank, LOG, '{"level":"error","data":"a"}')
    assert len(client.heard) == 2
