"""Mistakes with token endpoints that are not by the book."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace, set_constant
from dynamic_mcp.errors import SignInMayHelp, UpstreamFailed
from dynamic_mcp.oauth import new_tokens, registration, token_answer
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.request import Unreadable
from dynamic_mcp.upstream.http import kinds, refusals

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


@mutant("TOK-042")
def takes_the_object_of_a_gateway_for_a_refusal() -> None:
    """The proxy drops the tokens, and the browser opens. It did so up to version 1.2."""
    right = token_answer.read_answer

    def wrong(body: bytes) -> TokenAnswer:
        found = right(body)
        return msgspec.structs.replace(found, is_error=found.is_error or found.access_token is None)

    replace(right, wrong)


@mutant("TOK-043")
def opens_a_page_as_soon_as_a_renewed_token_is_refused() -> None:
    """It did so up to version 1.2."""
    set_constant(new_tokens, "PATIENCE", 0.0)


@mutant("TOK-043")
def an_outage_ends_the_calls_in_flight() -> None:
    """The connection ends if no new session can begin because of the token."""
    right = Authorization.handle_refusal

    async def wrong(self: Authorization, status: int, bearer: str | None, challenge: str, kind: str) -> bool:
        try:
            return await right(self, status, bearer, challenge, kind)
        except SignInMayHelp as failure:
            if kind == "initialize":
                raise UpstreamFailed(str(failure)) from None
            raise

    replace(right, wrong)


@mutant("TOK-044")
def takes_any_accepted_request_for_the_refused_one() -> None:
    """The proxy renews the tokens at each refusal."""
    replace(kinds.kind_of, lambda method, body: "")


@mutant("OAUTH-049")
def keeps_a_session_that_refuses_the_new_token() -> None:
    """Every call fails until a restart."""
    replace(refusals.refuses_token, lambda status, challenge: False)
