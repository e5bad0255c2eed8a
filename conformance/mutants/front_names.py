"""Mistakes with names: the proxy takes similar ones for the same."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire
from conformance.mutants.wire import params_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Message

    ChangeName = Callable[[str], str]


@mutant("FRONT-009")
def knows_groups_in_lower_case_only() -> None:
    _change_groups(str.lower)


@mutant("FRONT-009")
def normalizes_the_letters_of_groups() -> None:
    _change_groups(_composed)


@mutant("FRONT-012")
def strips_the_names_of_tools() -> None:
    _change_names("tools/call", str.strip)


@mutant("FRONT-012", also={"FRONT-105": "a name there has capitals"})
def calls_tools_in_lower_case() -> None:
    _change_names("tools/call", str.lower)


@mutant("FRONT-012")
def normalizes_the_letters_of_tools() -> None:
    _change_names("tools/call", _composed)


@mutant("FRONT-018")
def reads_uris_in_lower_case() -> None:
    _change_names("resources/read", str.lower, "uri")


@mutant("FRONT-019")
def strips_the_names_of_prompts() -> None:
    _change_names("prompts/get", str.strip)


@mutant("FRONT-019")
def requests_prompts_in_lower_case() -> None:
    _change_names("prompts/get", str.lower)


@mutant("FRONT-019")
def normalizes_the_letters_of_prompts() -> None:
    _change_names("prompts/get", _composed)


def _composed(name: str) -> str:
    """A letter and its accent as one character, where Unicode has one."""
    return unicodedata.normalize("NFC", name)


def _change_names(method: str, change: ChangeName, member: str = "name") -> None:
    """Let servers get another name than the client sent."""
    wire.to_stdio_upstreams(params_of(method, lambda params: {**params, member: change(params[member])}))


def _change_groups(change: ChangeName) -> None:
    """Let the proxy look up another name of a group than the client sent."""

    def wrong(params: Message) -> Message:
        arguments = params.get("arguments") or {}
        group = arguments.get("group")
        if not isinstance(group, str):
            return params
        return {**params, "arguments": {**arguments, "group": change(group)}}

    wire.from_client(params_of("tools/call", wrong))
