"""Mistakes in keeping tokens and in renewing them."""

from __future__ import annotations

import tempfile
import time
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from conformance.mutants.oauth_signin import alter_token_requests, without
from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import metadata, store, token_answer, token_endpoint, tokens
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.fresh_tokens import FreshTokens
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.request import TransientFailure, http_client
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.token_endpoint import GrantRefused
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from dynamic_mcp.config.model import RemoteTransport
    from dynamic_mcp.oauth.store import TokenStore


@mutant(
    "TOK-001",
    also=dict.fromkeys(
        ("TOK-002", "TOK-003", "TOK-017", "TOK-018"),
        "the check looks for the file where it should be",
    ),
)
def stores_in_the_working_directory() -> None:
    replace(store.default_directory, lambda: Path("oauth-servers"))


@mutant(
    "TOK-002",
    also=dict.fromkeys(
        ("TOK-003", "TOK-004", "TOK-005", "TOK-011", "TOK-012"),
        "the proxy does not accept the time in its own file",
    ),
)
def stores_local_time_without_a_zone() -> None:
    replace(tokens.expiry, lambda now, expires_in: datetime.fromtimestamp(now + expires_in).isoformat())


def save_openly(self: FileStore, kept: Tokens) -> None:
    """Write into the file itself, with the modes of the umask."""
    self.path.parent.mkdir(parents=True, exist_ok=True)
    self.path.write_bytes(msgspec.json.encode(kept))


@mutant("TOK-003", also={"TOK-018": "it writes into the file itself"})
def leaves_the_modes_to_the_umask() -> None:
    replace(FileStore.save, save_openly)


@mutant("TOK-003")
def a_renewal_loses_the_modes() -> None:
    """The proxy renames a new file into place."""
    right = FileStore.save

    def wrong(self: FileStore, kept: Tokens) -> None:
        if not self.path.exists():
            right(self, kept)
            return
        new = self.path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(kept))
        new.replace(self.path)

    replace(right, wrong)


@mutant("TOK-003", also={"TOK-001": "the copy is another file with the tokens"})
def copies_new_tokens_into_an_open_file() -> None:
    """In TMPDIR, with mode 0644."""
    right = FileStore.save

    def wrong(self: FileStore, kept: Tokens) -> None:
        right(self, kept)
        copy = Path(tempfile.gettempdir(), "last-tokens.json")
        copy.write_bytes(msgspec.json.encode(kept))
        copy.chmod(0o644)

    replace(right, wrong)


@mutant(
    "TOK-004",
    also=dict.fromkeys(
        ("TOK-003", "TOK-005", "TOK-011", "TOK-012"),
        "there is no token after a restart",
    ),
)
def forgets_at_each_start() -> None:
    replace(FileStore.load, lambda self: None)


@mutant("TOK-005", also=dict.fromkeys(("TOK-007", "TOK-013", "TOK-014"), "no token is renewed in time"))
def renews_after_expiry_only() -> None:
    """dmcp 1.5.0 behaves like this: it tests for expiry first."""
    replace(Tokens.is_due, lambda self, now, *, fresh: self.is_expired(now))


@mutant("TOK-006", also={"TOK-004": "a restart renews"})
def renews_at_each_connection() -> None:
    right = Tokens.is_due
    replace(right, lambda self, now, *, fresh: not fresh or right(self, now, fresh=fresh))


@mutant("TOK-007", also=dict.fromkeys(("TOK-014", "TOK-018"), "no other token replaces the first one"))
def the_bearer_is_fixed_when_connecting() -> None:
    """The token is part of static headers."""
    right = Authorization.bearer

    async def wrong(self: Authorization) -> str | None:
        frozen: str | None = vars(self).get("frozen") or await right(self)
        vars(self)["frozen"] = frozen
        return frozen

    replace(right, wrong)


@mutant("TOK-008")
def the_refresh_asks_for_a_further_scope() -> None:
    alter_token_requests("refresh_token", lambda form: {**form, "scope": "x y further"})


@mutant("TOK-041")
def the_refresh_names_no_resource() -> None:
    """dmcp 1.5.0 behaves like this."""
    alter_token_requests("refresh_token", without("resource"))


@mutant("TOK-009", also={"TOK-018": "the file has the first refresh token"})
def stores_the_first_refresh_token_only() -> None:
    right = FileStore.save

    def wrong(self: FileStore, kept: Tokens) -> None:
        before = self.load()
        right(
            self,
            kept if before is None else msgspec.structs.replace(kept, refresh_token=before.refresh_token),
        )

    replace(right, wrong)


@mutant("TOK-010")
def drops_a_refresh_token_that_is_not_repeated() -> None:
    """The browser opens the next time."""
    right = FreshTokens.keep

    async def wrong(self: FreshTokens, new: Tokens) -> None:
        if self.current is not None and new.refresh_token == self.current.refresh_token:
            new = msgspec.structs.replace(new, refresh_token=None)
        await right(self, new)

    replace(right, wrong)


@mutant("TOK-011")
def sends_expired_tokens() -> None:
    due, expired = Tokens.is_due, Tokens.is_expired
    replace(due, lambda self, now, *, fresh: due(self, now, fresh=fresh) and not expired(self, now))
    replace(expired, lambda self, now: False)


def mistake_for(right_kind: type[UpstreamFailed], wrong_kind: type[UpstreamFailed]) -> None:
    """Take one kind of failure of a refresh request for another kind."""
    right = token_endpoint.request_tokens

    async def wrong(
        http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: dict[str, str]
    ) -> Tokens:
        try:
            return await right(http, endpoint, client, form)
        except right_kind as failure:
            if form["grant_type"] != "refresh_token":
                raise
            raise wrong_kind(str(failure)) from None

    replace(right, wrong)


@mutant("TOK-012")
def a_dead_grant_is_tried_for_ever() -> None:
    mistake_for(GrantRefused, TransientFailure)


@mutant("TOK-013")
def any_failure_ends_the_grant() -> None:
    """The browser opens."""
    mistake_for(TransientFailure, GrantRefused)


@mutant("TOK-014")
def each_call_renews_for_itself() -> None:
    async def renew(self: FreshTokens, *, force: bool = False) -> None:
        # Private, because the public method is what lets one renewal serve all calls.
        await self._renew(force)

    @asynccontextmanager
    async def unlocked(self: FileStore) -> AsyncIterator[None]:
        yield

    replace(FreshTokens.renew, renew)
    replace(FileStore.lock, unlocked)


@mutant("TOK-015")
def needs_an_expiry() -> None:
    right = token_answer.read_answer

    def wrong(body: bytes) -> token_answer.TokenAnswer:
        if b"expires_in" not in body:
            raise UpstreamFailed("the answer to its sign-in has no expires_in")
        return right(body)

    replace(right, wrong)


@mutant("TOK-004")
def renews_what_has_no_expiry() -> None:
    right = Tokens.is_due
    replace(right, lambda self, now, *, fresh: self.expires_at is None or right(self, now, fresh=fresh))


@mutant("TOK-016", also={"TOK-012": "the new token is renewed at once, and refused again"})
def renews_short_lived_tokens_before_each_request() -> None:
    right = Tokens.is_due
    replace(right, lambda self, now, *, fresh: right(self, now, fresh=False))


@mutant("TOK-017")
def a_damaged_file_fails_the_group() -> None:
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        found = right(self)
        if found is None and self.path.exists():
            raise UpstreamFailed("its token file is damaged")
        return found

    replace(right, wrong)


@mutant("TOK-018", also={"TOK-003": "the new file has the modes of the umask"})
def truncates_and_then_writes() -> None:
    def wrong(self: FileStore, kept: Tokens) -> None:
        self.make_directories()
        data = msgspec.json.encode(kept)
        with open(self.path, "wb") as file:
            file.write(data[:10])
            file.flush()
            time.sleep(0.005)
            file.write(data[10:])

    replace(FileStore.save, wrong)


@mutant("TOK-019")
def finds_tokens_by_the_name_only() -> None:
    """dmcp 1.5.0 behaves like this."""
    right = FreshTokens.__init__
    stores: dict[FreshTokens, TokenStore] = {}

    def remember(
        self: FreshTokens, server: str, transport: RemoteTransport, store: TokenStore, *more: Any
    ) -> None:
        right(self, server, transport, store, *more)
        stores[self] = store

    async def wrong(self: FreshTokens) -> Tokens | None:
        return stores[self].load()

    replace(right, remember)
    replace(FreshTokens.stored, wrong)


@mutant("TOK-020")
def refreshes_at_the_server_that_is_named_now() -> None:
    """The proxy takes what a token file lacks from the metadata of the server."""
    right = FreshTokens.__init__
    entries: dict[FreshTokens, tuple[str, str | None, TokenStore]] = {}

    def remember(
        self: FreshTokens, server: str, transport: RemoteTransport, store: TokenStore, *more: Any
    ) -> None:
        right(self, server, transport, store, *more)
        entries[self] = transport.url.reveal(), transport.oauth_client_id, store

    async def wrong(self: FreshTokens) -> Tokens | None:
        url, client_id, store = entries[self]
        found = store.load()
        if found is None or found.issuer is not None:
            return found
        async with http_client(NetworkReach(url)) as http:
            named = await metadata.discover(http, url, Challenge(), OAuthSettings())
        return msgspec.structs.replace(
            found,
            issuer=named.server.issuer,
            token_endpoint=named.server.token_endpoint,
            resource=named.resource,
            client=ClientRegistration(client_id or ""),
        )

    replace(right, remember)
    replace(FreshTokens.stored, wrong)
