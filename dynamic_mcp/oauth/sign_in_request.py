"""What one sign-in is for, and what is known from earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens

if TYPE_CHECKING:
    from dynamic_mcp.oauth.metadata import Discovered


class SignInRequest(msgspec.Struct, frozen=True):
    """What the sign-in is for."""

    server: str
    url: str
    client_id: str | None
    scopes: tuple[str, ...]
    #: the scope of the last sign-in; a step-up requests it together with the missing scope
    granted: str | None = None
    #: the scope that the last sign-in requested, which may be more than the granted one
    requested: str | None = None
    #: the registration of an earlier sign-in, and its issuer
    client: ClientRegistration | None = None
    issuer: str | None = None
    #: where the server may lead
    reach: NetworkReach | None = None
    oauth: OAuthSettings = OAuthSettings()
    #: what the words of a server must not show
    hidden: HiddenValues = HiddenValues()

    def label(
        self, tokens: Tokens, found: Discovered, client: ClientRegistration, scope: str | None
    ) -> Tokens:
        """The tokens of this sign-in, with what they are for. ``scope`` is the requested one."""
        return msgspec.structs.replace(
            tokens,
            server=self.server,
            resource=found.resource,
            issuer=found.server.issuer,
            token_endpoint=found.server.token_endpoint,
            scope=tokens.scope or scope,
            requested=scope,
            client=tokens.client or client,
        )
