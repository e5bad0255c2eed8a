"""Mistakes in the authorization request, the exchange of the code and the use of the bearer."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from conformance.mutants import mutant, replace, wire_http, wire_oauth
from conformance.mutants.wire_oauth import (
    OF_SERVER,
    change_addresses,
    change_forms,
    change_metadata,
    change_queries,
    form_of,
    without,
)
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import browser, pkce, signin
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.pkce import Pkce
from dynamic_mcp.upstream.http.client import HttpClient

if TYPE_CHECKING:
    from asyncio import StreamWriter
    from collections.abc import AsyncIterator

    import httpx

    from conformance.mutants.wire_http import Request
    from conformance.mutants.wire_oauth import Form, Send
    from dynamic_mcp.oauth.callback import Callback
    from dynamic_mcp.oauth.challenge import Challenge
    from dynamic_mcp.oauth.tokens import Tokens
    from dynamic_mcp.upstream.http.client import HttpReply


def nobody_signs_in(id: str) -> dict[str, str]:
    """What a mistake about requirement `id` cannot help but fail where it makes every sign-in impossible.

    That is all but what is about sign-ins that are refused, or do not end.
    """
    others = (f"OAUTH-{number:03}" for number in range(1, 30) if number not in (20, 22, 27))
    return {other: "no sign-in succeeds" for other in others if other != id}


@mutant(
    "OAUTH-001",
    also=dict.fromkeys(
        ("OAUTH-008", "OAUTH-009", "OAUTH-014", "OAUTH-016", "OAUTH-017", "OAUTH-026", "OAUTH-029"),
        "the user approves twice",
    ),
)
def opens_two_windows() -> None:
    right = browser.show

    async def wrong(url: str, server: str) -> None:
        await right(url, server)
        await right(url, server)

    replace(right, wrong)


@mutant("OAUTH-008", also=nobody_signs_in("OAUTH-008"))
def sends_the_verifier_as_the_challenge() -> None:
    replace(vars(Pkce)["challenge"], property(lambda self: self.verifier))


@mutant(
    "OAUTH-009",
    also={
        "OAUTH-011": "the state of another flow is the right one",
        "OAUTH-028": "the state of one flow is that of every other",
    },
)
def has_one_state_for_ever() -> None:
    replace(pkce.new_state, lambda: "A" * 43)


@mutant("OAUTH-014", also=nobody_signs_in("OAUTH-014"))
def leaves_out_the_redirect_uri() -> None:
    change_forms("authorization_code", without("redirect_uri"))


@mutant("OAUTH-015", also=nobody_signs_in("OAUTH-015"))
def names_the_origin_as_the_resource() -> None:
    def wrong(query: Form) -> Form:
        resource = query["resource"]
        return {**query, "resource": resource.removesuffix(urlsplit(resource).path)}

    change_queries(wrong)


@mutant("OAUTH-016")
def the_exchange_names_no_resource() -> None:
    change_forms("authorization_code", without("resource"))


@mutant("OAUTH-017", also=nobody_signs_in("OAUTH-017"))
def exchanges_the_code_twice() -> None:
    async def wrong(request: httpx.Request, send: Send) -> httpx.Response:
        response = await send(request)
        if "code" in form_of(request):
            await send(request)
        return response

    wire_oauth.around_requests(wrong)


@mutant("OAUTH-018", also={"OAUTH-026": "the scopes that are asked for later are joined in the same way"})
def joins_scopes_with_commas() -> None:
    change_queries(
        lambda query: {**query, "scope": query["scope"].replace(" ", ",")} if "scope" in query else query
    )


@mutant("OAUTH-019")
def adds_a_second_question_mark() -> None:
    def wrong(url: str) -> str:
        before, asked, query = url.partition("response_type=")
        return f"{before.removesuffix('&')}?{asked}{query}" if before.endswith("&") else url

    change_addresses(wrong)


@mutant("OAUTH-021")
def ignores_iss() -> None:
    async def wrong(callback: Callback, head: bytes, writer: StreamWriter) -> tuple[bytes, StreamWriter]:
        return re.sub(rb"(?<=[?&])iss=[^& ]*&?", b"", head), writer

    unannounced = {"authorization_response_iss_parameter_supported": False}
    change_metadata(OF_SERVER, lambda document, request: {**document, **unannounced})
    wire_oauth.around_callbacks(wrong)


@mutant("OAUTH-024")
def the_configured_header_replaces_the_bearer() -> None:
    configured: dict[object, str] = {}
    current: ContextVar[object] = ContextVar("current")
    create = HttpClient.__init__

    def remember(self: HttpClient, url: str, headers: dict[str, str], *rest: Any, **named: Any) -> None:
        create(self, url, headers, *rest, **named)
        configured.update((self, value) for name, value in headers.items() if name.lower() == "authorization")

    async def set_current(request: Request, send: wire_http.Send) -> AsyncIterator[HttpReply]:
        current.set(request.client)
        async with send(request) as reply:
            yield reply

    def wrong(request: Request) -> None:
        if current.get(None) in configured:
            request.headers["Authorization"] = configured[current.get()]

    replace(create, remember)
    wire_http.around_requests(set_current)
    wire_http.change_requests(wrong)


@mutant("OAUTH-025")
def a_refused_token_is_refused_for_good() -> None:
    right = Authorization.refused

    async def wrong(self: Authorization, status: int, bearer: str | None, challenge: str) -> bool:
        if bearer is not None:
            raise UpstreamFailed("it refused the token")
        return await right(self, status, bearer, challenge)

    replace(right, wrong)


@mutant("OAUTH-026")
def asks_for_what_is_missing_only() -> None:
    right = signin.sign_in

    async def wrong(
        http: httpx.AsyncClient, wanted: signin.SignInRequest, challenge: Challenge, *rest: Any
    ) -> Tokens:
        if challenge.error == "insufficient_scope":
            wanted = msgspec.structs.replace(wanted, granted=None, scopes=())
        return await right(http, wanted, challenge, *rest)

    replace(right, wrong)


@mutant(
    "OAUTH-028",
    also=dict.fromkeys(
        (
            "OAUTH-002",
            "OAUTH-005",
            "OAUTH-009",
            "OAUTH-015",
            "OAUTH-018",
            "OAUTH-021",
            "OAUTH-025",
            "OAUTH-026",
        ),
        "it has several sign-ins at once",
    ),
)
def keeps_one_verifier_for_the_process() -> None:
    new = pkce.new_pkce
    made: list[Pkce] = []

    def remembered() -> Pkce:
        made.append(new())
        return made[-1]

    replace(new, remembered)
    change_forms("authorization_code", lambda form: {**form, "code_verifier": made[-1].verifier})


@mutant("OAUTH-029")
def has_an_empty_client_id() -> None:
    right = signin.sign_in

    async def wrong(http: httpx.AsyncClient, wanted: signin.SignInRequest, *rest: Any) -> Tokens:
        return await right(http, msgspec.structs.replace(wanted, client_id=wanted.client_id or ""), *rest)

    replace(right, wrong)
