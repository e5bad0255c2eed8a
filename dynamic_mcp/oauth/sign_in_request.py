"""What one sign-in is for, and what is known from earlier ones."""

from __future__ import annotations

import msgspec

from dynamic_mcp.config.model import OAuthSettings
from dynamic_mcp.oauth.reach import Reach
from dynamic_mcp.oauth.tokens import ClientRegistration


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
    reach: Reach | None = None
    oauth: OAuthSettings = OAuthSettings()
