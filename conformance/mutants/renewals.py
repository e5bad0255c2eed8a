"""Mistakes that show only once a proxy has renewed its tokens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace, wire_http
from conformance.mutants.oauth_signin import alter_token_requests
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import renewal, store
from dynamic_mcp.oauth.fresh_tokens import FreshTokens
from dynamic_mcp.oauth.request import NoConnection, TransientFailure
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.token_endpoint import GrantRefused

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from conformance.mutants.oauth_signin import Form
    from conformance.mutants.wire_http import ProxyRequest
    from dynamic_mcp.config.model import RemoteTransport
    from dynamic_mcp.oauth.reach import NetworkReach
    from dynamic_mcp.oauth.tokens import Tokens

_BEARER = "Authorization"


def _alter_later_bearers(change: Callable[[MutableMapping[str, str], str], object]) -> None:
    """Change the headers of notifications and of DELETE once a request had another bearer; `change` gets the first bearer too."""
    first: dict[str, str] = {}

    def wrong(request: ProxyRequest) -> None:
        bearer = request.headers.get(_BEARER)
        is_aside = request.method == "DELETE" or "id" not in request.message
        if bearer is not None and first.setdefault(request.url, bearer) != bearer and is_aside:
            change(request.headers, first[request.url])

    wire_http.change_requests(wrong)


@mutant("OAUTH-024")
def notifications_keep_the_first_bearer() -> None:
    """DELETE and the GET for a stream have it too."""
    _alter_later_bearers(lambda headers, first: headers.update({_BEARER: first}))


@mutant("OAUTH-024")
def notifications_lose_the_bearer_after_a_renewal() -> None:
    _alter_later_bearers(lambda headers, first: headers.pop(_BEARER, None))


def _alter_saves(change: Callable[[Tokens, Tokens, FileStore], Tokens]) -> None:
    """Change each renewal before it gets into its file; `change` gets the tokens in the file, and the new ones."""
    right = FileStore.save

    def wrong(self: FileStore, kept: Tokens) -> None:
        before = self.load()
        right(self, kept if before is None else change(before, kept, self))

    replace(right, wrong)


@mutant("TOK-001")
def keeps_the_tokens_before_a_renewal() -> None:
    """In a file beside those of the new tokens."""

    def backup(before: Tokens, new: Tokens, file: FileStore) -> Tokens:
        copy = file.path.with_suffix(".bak")
        copy.touch(mode=0o600)
        copy.write_bytes(msgspec.json.encode(before))
        return new

    _alter_saves(backup)


@mutant("TOK-002", also={"TOK-011": "the token of a second sign-in counts as expired at the next start"})
def stores_the_end_of_the_first_token_only() -> None:
    _alter_saves(lambda before, new, _: msgspec.structs.replace(new, expires_at=before.expires_at))


@mutant("TOK-008")
def the_refresh_asks_for_the_configured_scopes() -> None:
    """The server granted only one of them."""
    alter_token_requests("refresh_token", lambda form: {**form, "scope": "x y"})


@mutant("TOK-009", also={"TOK-018": "the second refresh of the process fails"})
def a_process_uses_the_first_refresh_token_only() -> None:
    """The file has the newest one."""
    first: dict[str, str] = {}

    def change(form: Form) -> Form:
        return {**form, "refresh_token": first.setdefault(form["resource"], form["refresh_token"])}

    alter_token_requests("refresh_token", change)


@mutant("TOK-010")
def a_process_uses_each_refresh_token_once() -> None:
    """The file has the token that is not repeated."""
    right, used = renewal.renewed, set[str]()

    async def wrong(transport: RemoteTransport, reach: NetworkReach, old: Tokens) -> Tokens | None:
        if old.refresh_token in used:
            old = msgspec.structs.replace(old, refresh_token=None)
        new = await right(transport, reach, old)
        used.add(old.refresh_token or "")
        return new

    replace(right, wrong)


@mutant("TOK-011")
def a_session_sends_an_expired_token() -> None:
    """A token without a refresh token, after a request had it."""
    right, sent = FreshTokens.bearer, set[str]()

    async def wrong(self: FreshTokens) -> str | None:
        tokens = self.current
        if tokens is not None and tokens.refresh_token is None and tokens.access_token in sent:
            return tokens.access_token
        found = await right(self)
        sent.add(found or "")
        return found

    replace(right, wrong)


def _alter_failures(change: Callable[[Tokens, UpstreamFailed], UpstreamFailed]) -> None:
    """Replace the failure of each renewal."""
    right = renewal.renewed

    async def wrong(transport: RemoteTransport, reach: NetworkReach, old: Tokens) -> Tokens | None:
        try:
            return await right(transport, reach, old)
        except UpstreamFailed as failure:
            raise change(old, failure) from None

    replace(right, wrong)


@mutant("TOK-012", also={"TOK-030": "it does the same after any refusal"})
def a_dead_grant_is_an_error_in_its_session() -> None:
    """A page opens only for tokens from a file."""
    right, new = FreshTokens.keep, set[str]()

    async def keep(self: FreshTokens, tokens: Tokens) -> None:
        new.add(tokens.access_token)
        await right(self, tokens)

    def change(old: Tokens, failure: UpstreamFailed) -> UpstreamFailed:
        is_dead = isinstance(failure, GrantRefused) and old.access_token in new
        return TransientFailure(str(failure)) if is_dead else failure

    replace(right, keep)
    _alter_failures(change)


@mutant("TOK-013")
def a_refused_connection_costs_the_file() -> None:
    def change(old: Tokens, failure: UpstreamFailed) -> UpstreamFailed:
        if isinstance(failure, NoConnection):
            FileStore(str(old.server)).delete()
        return failure

    _alter_failures(change)


@mutant("TOK-013", also={"TOK-042": "the answer of a gateway is such a failure"})
def a_failure_ends_the_grant_of_an_expired_token() -> None:
    """The browser opens."""

    def change(old: Tokens, failure: UpstreamFailed) -> UpstreamFailed:
        passes = isinstance(failure, TransientFailure) and not isinstance(failure, NoConnection)
        return GrantRefused(str(failure)) if passes and old.is_expired(time.time()) else failure

    _alter_failures(change)


@mutant("TOK-017")
def a_file_with_a_list_fails_the_group() -> None:
    right = store.decode_tokens

    def wrong(data: bytes | str, server: str, what: str) -> Tokens | None:
        if data == b"[]":
            raise UpstreamFailed("its token file has no object")
        return right(data, server, what)

    replace(right, wrong)


@mutant("TOK-012", also={"TOK-030": "it keeps a token after any refusal"})
def a_restart_sends_a_dead_refresh_token() -> None:
    """If the user left the page."""
    replace(vars(GrantRefused)["ends_the_grant"], property(lambda self: False))
