"""Tools and prompts that require input: their result asks the client, and the next call brings the answers.

MCP 2026-07-28 calls such a result `input_required`.
"""

from mock_servers.actions import Action, error, reply
from mock_servers.answers import CAPABILITIES_KEY, INVALID_PARAMS
from mock_servers.everything.builders import SAMPLING, Json, content, form, messages, on_prompt, text
from mock_servers.script import Rule, on_call

_MISSING_CAPABILITY = -32021

_ASK_NAME = {"method": "elicitation/create", "params": form("What is your name?", "name")}
_ASK_MODEL = {"method": "sampling/createMessage", "params": SAMPLING}
_ASK_ROOTS = {"method": "roots/list", "params": {}}

#: tools that ask once, with their requests
ASK_ONCE: dict[str, dict[str, Json]] = {
    "test_input_required_result_elicitation": {"user_name": _ASK_NAME},
    "test_input_required_result_sampling": {"capital_question": _ASK_MODEL},
    "test_input_required_result_list_roots": {"client_roots": _ASK_ROOTS},
    "test_streaming_elicitation": {"user_name": _ASK_NAME},
}
#: tools that send a state with their requests, and refuse answers without it
ASK_WITH_STATE: dict[str, dict[str, Json]] = {
    "test_input_required_result_request_state": {"confirm": _ASK_NAME},
    "test_input_required_result_tampered_state": {"confirm": _ASK_NAME},
    "test_input_required_result_multiple_inputs": {
        "user_name": _ASK_NAME,
        "greeting": _ASK_MODEL,
        "client_roots": _ASK_ROOTS,
    },
}


def input_required_rules() -> list[Rule]:
    """For each of these tools and prompts: first the rule for the answers, then the rule that asks."""
    done = content(text("state-ok"))
    rules = []
    for name, requests in ASK_ONCE.items():
        rules += [
            on_call(name, done, params={"inputResponses": _answers_to(requests)}),
            on_call(name, _inputs(requests)),
        ]
    for name, requests in ASK_WITH_STATE.items():
        answered = {"inputResponses": _answers_to(requests)}
        rules += [
            on_call(name, done, params={**answered, "requestState": "sealed"}),
            on_call(name, error(INVALID_PARAMS, "Unknown request state"), params=answered),
            on_call(name, _inputs(requests, "sealed")),
        ]
    prompt, context = "test_input_required_result_prompt", {"user_context": _ASK_NAME}
    twice = "test_input_required_result_multi_round"
    lacks_sampling = {"_meta": {CAPABILITIES_KEY: {"sampling": None}}}
    needs_sampling = error(
        _MISSING_CAPABILITY, "The tool requires sampling", {"requiredCapabilities": {"sampling": {}}}
    )
    return [
        *rules,
        on_prompt(prompt, messages(text("with your input")), params={"inputResponses": _answers_to(context)}),
        on_prompt(prompt, _inputs(context)),
        on_call(twice, done, params={"inputResponses": {"step2": {}}, "requestState": "second"}),
        on_call(
            twice,
            _inputs({"step2": _ASK_NAME}, "second"),
            params={"inputResponses": {"step1": {}}, "requestState": "first"},
        ),
        on_call(twice, _inputs({"step1": _ASK_NAME}, "first")),
        on_call("test_input_required_result_capabilities", done, params=lacks_sampling),
        on_call("test_input_required_result_capabilities", _inputs({"capital_question": _ASK_MODEL})),
        on_call("test_missing_capability", needs_sampling, params=lacks_sampling),
    ]


def _answers_to(requests: dict[str, Json]) -> Json:
    """The pattern that matches answers to all requests."""
    return {name: {} for name in requests}


def _inputs(requests: dict[str, Json], state: str | None = None) -> Action:
    sealed = {} if state is None else {"requestState": state}
    return reply({"resultType": "input_required", "inputRequests": requests, **sealed})
