"""Servers that send too much, too often, or do not read."""

from typing import Any

from mock_servers.hostile.registry import hostile
from mock_servers.remote_actions import answer_as, hold_answers
from mock_servers.script import (
    Action,
    Script,
    default_tools,
    flood,
    on_call,
    progress,
    reply,
    request,
    stop_reading,
    tool,
)

#: the tools of a hostile server; `attack` begins the attack
TOOLS = [*default_tools(), tool("attack", "Begin the attack")]
#: seconds that a storm lasts
STORM = 5.0
#: events of a storm over HTTP, which the mock sends without waiting for the client
EVENTS = 300_000

_PING = '{"jsonrpc":"2.0","id":"$n","method":"ping"}\n'


def _attack(*actions: Action, **fields: Any) -> Script:
    return Script(tools=TOOLS, on=[on_call("attack", *actions)], **fields)


@hostile("asks-without-reading")
def asks_without_reading() -> Script:
    """Asks 600 times with an id of 1 MiB, and never reads an answer."""
    question = '{"jsonrpc":"2.0","id":"$n' + "x" * (1 << 20) + '","method":"ping"}\n'
    return _attack(stop_reading(), flood(question, count=600))


@hostile("asks-often-without-reading")
def asks_often_without_reading() -> Script:
    """Sends pings for five seconds, and never reads an answer."""
    return _attack(stop_reading(), flood(_PING, seconds=STORM))


@hostile("prints-digits")
def prints_digits() -> Script:
    """Prints lines of one digit for five seconds, then answers."""
    return _attack(flood("1\n", seconds=STORM), reply())


@hostile("prints-blank-lines")
def prints_blank_lines() -> Script:
    """Prints blank lines for five seconds, then answers."""
    return _attack(flood("\n", seconds=STORM), reply())


@hostile("answers-no-request")
def answers_no_request() -> Script:
    """Sends answers with ids of no request for five seconds, then answers."""
    return _attack(flood('{"jsonrpc":"2.0","id":"none-$n","result":{}}\n', seconds=STORM), reply())


@hostile("changes-all-the-time")
def changes_all_the_time() -> Script:
    """Announces a change of its prompts for five seconds, then answers."""
    changed = '{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}\n'
    capabilities = {"tools": {}, "prompts": {"listChanged": True}}
    return _attack(flood(changed, seconds=STORM), reply(), prompts=[{"name": "p"}], capabilities=capabilities)


@hostile("logs-all-the-time")
def logs_all_the_time() -> Script:
    """Sends log messages for five seconds, then answers."""
    logged = (
        '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"message $n"}}\n'
    )
    return _attack(flood(logged, seconds=STORM), reply(), capabilities={"tools": {}, "logging": {}})


@hostile("asks-the-user-all-the-time")
def asks_the_user_all_the_time() -> Script:
    """Asks the user 5,000 questions at once, then answers."""
    schema = '{"type":"object","properties":{}}'
    question = f'{{"message":"question $n","requestedSchema":{schema}}}'
    asked = f'{{"jsonrpc":"2.0","id":"q$n","method":"elicitation/create","params":{question}}}\n'
    return _attack(flood(asked, count=5000), reply())


@hostile("reports-progress-all-the-time")
def reports_progress_all_the_time() -> Script:
    """Reports progress 5,000 times, then answers."""
    return _attack(*(progress(number) for number in range(1, 5001)))


@hostile("streams-digits", transport="http")
def streams_digits() -> Script:
    """Sends 300,000 events of one digit on the stream of an answer, then answers."""
    return _attack(answer_as("sse"), flood("data: 1\n\n", count=EVENTS), reply())


@hostile("streams-comments", transport="http")
def streams_comments() -> Script:
    """Sends 3,000,000 empty comments on the stream of an answer, then answers."""
    return _attack(answer_as("sse"), flood(":\n", count=10 * EVENTS), reply())


@hostile("streams-digits-to-all", transport="sse")
def streams_digits_to_all() -> Script:
    """Sends 300,000 events of one digit on its stream, then answers."""
    return _attack(flood("data: 1\n\n", count=EVENTS), reply())


@hostile("leaves-answers-hanging", transport="http")
def leaves_answers_hanging() -> Script:
    """Asks 400 times on the stream of an answer, and never responds to the POSTs with the answers."""
    questions = [request("ping", id=f"q{number}") for number in range(400)]
    return _attack(hold_answers(), *questions, reply())


@hostile("leaves-answers-hanging-on-a-stream", transport="sse")
def leaves_answers_hanging_on_a_stream() -> Script:
    """Asks 400 times on its stream, and never responds to the POSTs with the answers."""
    questions = [request("ping", id=f"q{number}") for number in range(400)]
    return _attack(hold_answers(), *questions, reply())
