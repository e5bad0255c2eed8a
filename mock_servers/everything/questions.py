"""Questions: what a modern server asks by its result, and the call that brings the answers."""

from mock_servers.actions import Action, error, reply
from mock_servers.answers import CAPABILITIES_KEY, INVALID_PARAMS
from mock_servers.everything.words import SAMPLING, Json, content, form, messages, on_prompt, text
from mock_servers.script import Rule, on_call

_MISSING_CAPABILITY = -32021

_ASK_NAME = {"method": "elicitation/create", "params": form("What is your name?", "name")}
_ASK_MODEL = {"method": "sampling/createMessage", "params": SAMPLING}
_ASK_ROOTS = {"method": "roots/list", "params": {}}

#: tools that ask once, and what they ask
ASKING: dict[str, dict[str, Json]] = {
    "test_input_required_result_elicitation": {"user_name": _ASK_NAME},
    "test_input_required_result_sampling": {"capital_question": _ASK_MODEL},
    "test_input_required_result_list_roots": {"client_roots": _ASK_ROOTS},
    "test_streaming_elicitation": {"user_name": _ASK_NAME},
}
#: those that send a state along, and take no answers without it
SEALING: dict[str, dict[str, Json]] = {
    "test_input_required_result_request_state": {"confirm": _ASK_NAME},
    "test_input_required_result_tampered_state": {"confirm": _ASK_NAME},
    "test_input_required_result_multiple_inputs": {
        "user_name": _ASK_NAME,
        "greeting": _ASK_MODEL,
        "client_roots": _ASK_ROOTS,
    },
}


def questions() -> list[Rule]:
    """For each tool and prompt that asks: the rule for the answers first, then the one that asks."""
    done = content(text("state-ok"))
    rules = []
    for name, asked in ASKING.items():
        rules += [
            on_call(name, done, params={"inputResponses": _answers_to(asked)}),
            on_call(name, _inputs(asked)),
        ]
    for name, asked in SEALING.items():
        answered = {"inputResponses": _answers_to(asked)}
        rules += [
            on_call(name, done, params={**answered, "requestState": "sealed"}),
            on_call(name, error(INVALID_PARAMS, "This state is not mine"), params=answered),
            on_call(name, _inputs(asked, "sealed")),
        ]
    prompt, context = "test_input_required_result_prompt", {"user_context": _ASK_NAME}
    twice = "test_input_required_result_multi_round"
    lacks_sampling = {"_meta": {CAPABILITIES_KEY: {"sampling": None}}}
    needs_sampling = error(
        _MISSING_CAPABILITY, "It needs sampling", {"requiredCapabilities": {"sampling": {}}}
    )
    return [
        *rules,
        on_prompt(prompt, messages(text("as you said")), params={"inputResponses": _answers_to(context)}),
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


def _answers_to(questions: dict[str, Json]) -> Json:
    """The pattern of the answers to all of them."""
    return {name: {} for name in questions}


def _inputs(questions: dict[str, Json], state: str | None = None) -> Action:
    sealed = {} if state is None else {"requestState": state}
    return reply({"resultType": "input_required", "inputRequests": questions, **sealed})
