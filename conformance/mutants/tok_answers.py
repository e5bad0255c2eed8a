"""Mistakes with token endpoints that are not by the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.oauth import registration, token_answer
from dynamic_mcp.oauth.request import Unreadable

if TYPE_CHECKING:
    from dynamic_mcp.oauth.token_answer import TokenAnswer
    from dynamic_mcp.oauth.tokens import ClientRegistration


@mutant("TOK-030")
def looks_for_no_error_in_a_success() -> None:
    """The proxy tries the refresh again and again. It did so up to version 1.1."""
    right = token_answer.read_answer
    replace(right, lambda body: msgspec.structs.replace(right(body), is_error=False))


@mutant("TOK-031", also={"TOK-030": "an error with status 200 is unreadable"})
def takes_strict_json_only() -> None:
    """It did so up to version 1.1."""
    right = token_answer.read_answer

    def wrong(body: bytes) -> TokenAnswer:
        if not body.startswith(b'{"access_token"'):
            raise Unreadable
        return right(body)

    replace(right, wrong)


@mutant("TOK-031")
def a_lifetime_of_zero_has_ended() -> None:
    right = token_answer.read_answer

    def wrong(body: bytes) -> TokenAnswer:
        found = right(body)
        return msgspec.structs.replace(found, lifetime=0.0) if b'"expires_in": 0' in body else found

    replace(right, wrong)


@mutant("TOK-032")
def always_sends_the_client_id_in_the_form() -> None:
    right = registration.authenticate

    def wrong(
        client: ClientRegistration, form: dict[str, str]
    ) -> tuple[dict[str, str], tuple[str, str] | None]:
        return right(msgspec.structs.replace(client, id_in_form=True), form)

    replace(right, wrong)
