"""Mistakes of proxies with a profile of their own: without a feature, with one server, or a relay.

The checks must see there what a proxy of this kind can do wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire
from conformance.mutants.design_configurations import (
    gets_its_one_server_on_the_command_line,
    has_a_configuration_of_its_own,
    reaches_servers_by_the_older_transport_alone,
    starts_stdio_servers_only,
)
from conformance.mutants.design_relays import passes_the_messages_of_one_server_on
from conformance.mutants.design_signins import signs_in_nowhere
from conformance.mutants.front_notifications import relays_log_messages_as_text
from conformance.mutants.hard_audit import writes_the_arguments_unasked
from conformance.mutants.hard_https import ignores_that_https_is_required
from conformance.mutants.http_answers import takes_a_page_for_the_answer
from conformance.mutants.sec_secrets import logs_headers_in_base64, tells_the_client_the_address_that_failed
from conformance.mutants.sec_transport import trusts_every_certificate, writes_headers_unchecked
from conformance.mutants.texts import hides_nothing, starts_children_in_its_own_session
from conformance.mutants.unannounced import knows_plain_variables_only
from conformance.mutants.wire import LISTS, params_of, results_of, without

if TYPE_CHECKING:
    from conformance.mutants.wire import Message

_QUESTIONS = {"STD-020": "its requests have no answer"}


@mutant("SEC-001", design=signs_in_nowhere)
def logs_headers_and_signs_in_nowhere() -> None:
    logs_headers_in_base64()


@mutant("SEC-004", design=signs_in_nowhere)
def trusts_every_certificate_and_signs_in_nowhere() -> None:
    trusts_every_certificate()


@mutant("SEC-004", design=reaches_servers_by_the_older_transport_alone)
def trusts_every_certificate_of_a_stream() -> None:
    trusts_every_certificate()


@mutant("SEC-023", design=signs_in_nowhere)
def tells_the_client_an_address_and_signs_in_nowhere() -> None:
    tells_the_client_the_address_that_failed()


@mutant("HARD-003", design=signs_in_nowhere)
def ignores_that_https_is_required_and_signs_in_nowhere() -> None:
    ignores_that_https_is_required()


@mutant("HARD-005", design=signs_in_nowhere)
def writes_the_arguments_and_signs_in_nowhere() -> None:
    writes_the_arguments_unasked()


@mutant("SEC-001", design=has_a_configuration_of_its_own)
def logs_headers_and_has_no_variables() -> None:
    logs_headers_in_base64()


@mutant("SEC-009", design=has_a_configuration_of_its_own)
def writes_headers_unchecked_and_has_no_variables() -> None:
    writes_headers_unchecked()


@mutant("SEC-016", design=starts_stdio_servers_only)
def hides_nothing_and_starts_stdio_servers_only() -> None:
    hides_nothing()


@mutant("FRONT-026", also=_QUESTIONS, design=passes_the_messages_of_one_server_on)
def a_relay_swallows_the_requests_of_its_server() -> None:
    wire.to_client(lambda message, way: None if "method" in message and "id" in message else message)


@mutant("FRONT-026", design=passes_the_messages_of_one_server_on)
def a_relay_takes_the_capabilities_from_the_handshake() -> None:
    wire.from_client(params_of("initialize", lambda params: {**params, "capabilities": {}}))


@mutant("FRONT-171", design=passes_the_messages_of_one_server_on)
def a_relay_offers_elicitation_to_every_server() -> None:
    def wrong(params: Message) -> Message:
        return {**params, "capabilities": {**params["capabilities"], "elicitation": {}, "roots": {}}}

    wire.from_client(params_of("initialize", wrong))


@mutant("FRONT-011", design=passes_the_messages_of_one_server_on)
def a_relay_drops_the_cursors_of_its_server() -> None:
    for method in LISTS:
        wire.to_client(
            results_of(method, lambda result: {name: result[name] for name in result if name != "nextCursor"})
        )


@mutant("FRONT-011", design=passes_the_messages_of_one_server_on)
def a_relay_leaves_out_every_twentieth_tool() -> None:
    def wrong(result: Message) -> Message:
        tools = [tool for tool in result["tools"] if not str(tool["name"]).endswith(("020", "040"))]
        return {**result, "tools": tools}

    wire.to_client(results_of("tools/list", wrong))


@mutant(
    "FRONT-022",
    also={"FRONT-003": "a declared flag has no effect"},
    design=passes_the_messages_of_one_server_on,
)
def a_relay_swallows_changes_of_lists() -> None:
    wire.to_client(
        without(*(f"notifications/{kind}/list_changed" for kind in ("tools", "resources", "prompts")))
    )


@mutant(
    "FRONT-003",
    also={"FRONT-025": "what it does not declare works"},
    design=passes_the_messages_of_one_server_on,
)
def a_relay_declares_nothing_but_tools() -> None:
    wire.to_client(results_of("initialize", lambda result: {**result, "capabilities": {"tools": {}}}))


@mutant("FRONT-003", design=passes_the_messages_of_one_server_on)
def a_relay_declares_resources_without_any() -> None:
    wire.to_client(
        results_of(
            "initialize",
            lambda result: {**result, "capabilities": {"resources": {}, **result["capabilities"]}},
        )
    )


@mutant("FRONT-101", design=passes_the_messages_of_one_server_on)
def a_relay_drops_the_instructions() -> None:
    wire.to_client(
        results_of(
            "initialize", lambda result: {name: result[name] for name in result if name != "instructions"}
        )
    )


@mutant("FRONT-013", design=gets_its_one_server_on_the_command_line)
def a_program_with_one_server_calls_a_failure_a_success() -> None:
    def wrong(message: Message, way: wire.Way) -> wire.Changed:
        if "error" not in message and not (message.get("result") or {}).get("isError"):
            return message
        content = [{"type": "text", "text": "done"}]
        return {"jsonrpc": "2.0", "id": message["id"], "result": {"content": content}}

    wire.to_client(wrong)


@mutant("FRONT-025", design=gets_its_one_server_on_the_command_line)
def a_program_with_one_server_relays_log_messages_as_text() -> None:
    relays_log_messages_as_text()


@mutant("FRONT-075", design=gets_its_one_server_on_the_command_line)
def a_program_with_one_server_knows_plain_variables_only() -> None:
    knows_plain_variables_only()


@mutant(
    "HTTP-016",
    also={"HTTP-030": "the client gets no error for the page"},
    design=gets_its_one_server_on_the_command_line,
)
def a_program_with_one_server_takes_a_page_for_the_answer() -> None:
    takes_a_page_for_the_answer()


@mutant("SEC-015", design=gets_its_one_server_on_the_command_line)
def a_program_with_one_server_starts_it_in_its_own_session() -> None:
    starts_children_in_its_own_session()
