"""FRONT: mistakes of `dynamic-mcp serve` with the origin, the version and the session of a request."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace
from conformance.mutants.share_sessions import SERVE
from dynamic_mcp.extras.serving.app import App
from dynamic_mcp.extras.serving.gate import Gate
from dynamic_mcp.extras.serving.legacy_era import LegacyEra
from dynamic_mcp.extras.serving.refused import MODERN_STATUS, RefusedRequest, respond
from dynamic_mcp.extras.serving.sessions import ServedSession, Sessions
from dynamic_mcp.extras.serving.versions import check_version
from dynamic_mcp.protocol import era

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import Headers
    from starlette.types import Receive, Scope, Send

    from dynamic_mcp.config.model import Config


def change_origins(wrong: Callable[[Headers], bool]) -> None:
    """Let in every request for which this is true, and judge all others as the reference does."""
    right = Gate.check

    def check(self: Gate, headers: Headers) -> None:
        if not wrong(headers):
            right(self, headers)

    replace(right, check)


def refuse_with(status: int, right: Callable[..., None]) -> None:
    """Refuse the same requests as the reference, with another status."""

    @functools.wraps(right)
    def wrong(*arguments: Any) -> None:
        try:
            right(*arguments)
        except RefusedRequest as refused:
            raise RefusedRequest(status, str(refused)) from None

    replace(right, wrong)


@mutant("FRONT-161", profile=SERVE)
def takes_any_origin() -> None:
    change_origins(lambda headers: "origin" in headers)


@mutant("FRONT-161", profile=SERVE)
def takes_the_origin_that_equals_the_host() -> None:
    """A name of the page that leads to this machine is then in both headers (DNS rebinding)."""

    def is_same(headers: Headers) -> bool:
        return headers.get("origin") == f"http://{headers.get('host')}"

    change_origins(is_same)


@mutant("FRONT-161", profile=SERVE)
def compares_the_beginning_of_the_origin() -> None:
    local = ("http://localhost", "http://127.0.0.1")
    change_origins(lambda headers: headers.get("origin", "").startswith(local))


@mutant("FRONT-161", profile=SERVE)
def compares_the_beginning_of_the_origin_in_the_modern_era() -> None:
    local = ("http://localhost", "http://127.0.0.1")

    def is_like_local(headers: Headers) -> bool:
        return headers.get(era.VERSION_HEADER) == era.MODERN and headers.get("origin", "").startswith(local)

    change_origins(is_like_local)


@mutant("FRONT-161", profile=SERVE)
def judges_the_origin_of_posts_only() -> None:
    change_origins(lambda headers: "content-type" not in headers)


@mutant("FRONT-161", profile=SERVE)
def judges_the_origin_of_initialize_only() -> None:
    """The proxy serves a request with a session id from any origin."""
    change_origins(lambda headers: "mcp-session-id" in headers)


@mutant("FRONT-161", profile=SERVE)
def judges_no_origin_of_the_modern_era() -> None:
    change_origins(lambda headers: headers.get(era.VERSION_HEADER) == era.MODERN)


@mutant("FRONT-161", profile=SERVE)
def a_foreign_origin_is_400() -> None:
    refuse_with(400, Gate.check)


@mutant("FRONT-161", profile=SERVE)
def refuses_a_foreign_origin_after_the_call() -> None:
    """The page cannot read the answer, but the tool has run."""
    right = App.__call__

    async def wrong(self: App, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != b"origin"]
        is_call = scope["method"] == "POST" and (b"host", b"attacker.example") not in headers
        if len(headers) == len(scope["headers"]) or not is_call:
            await right(self, scope, receive, send)
            return

        async def unread(message: Any) -> None:
            """Drops the response."""

        await right(self, {**scope, "headers": headers}, receive, unread)
        await respond(send, 403)

    replace(right, wrong)


@mutant("FRONT-162", profile=SERVE)
def ignores_the_version_header() -> None:
    replace(check_version, lambda headers, config: None)


@mutant("FRONT-162", profile=SERVE)
def takes_every_date_as_a_version() -> None:
    def wrong(headers: Headers, config: Config) -> None:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", headers.get(era.VERSION_HEADER, "2025-03-26")):
            check_version(headers, config)

    replace(check_version, wrong)


@mutant("FRONT-162", profile=SERVE)
def judges_the_version_of_posts_only() -> None:
    def wrong(headers: Headers, config: Config) -> None:
        if "content-type" in headers:
            check_version(headers, config)

    replace(check_version, wrong)


@mutant("FRONT-162", profile=SERVE)
def an_unknown_version_is_404() -> None:
    refuse_with(404, check_version)


@mutant("FRONT-162", profile=SERVE)
def an_unknown_version_of_the_modern_era_is_200() -> None:
    """The JSON-RPC error is right."""
    del MODERN_STATUS[era.UNSUPPORTED_VERSION]


@mutant("FRONT-163", profile=SERVE)
def a_missing_session_id_is_404() -> None:
    right = Sessions.of

    def wrong(self: Sessions, id: str | None) -> ServedSession:
        if id is None:
            raise RefusedRequest(404, "the session does not exist")
        return right(self, id)

    replace(right, wrong)


@mutant("FRONT-163", profile=SERVE)
def a_stream_without_a_session_id_is_404() -> None:
    right = LegacyEra.get

    async def wrong(self: LegacyEra, headers: Headers, receive: Receive, send: Send) -> None:
        if "mcp-session-id" not in headers:
            raise RefusedRequest(404, "the session does not exist")
        await right(self, headers, receive, send)

    replace(right, wrong)
