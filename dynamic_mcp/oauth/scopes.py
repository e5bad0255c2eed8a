"""The scopes of a sign-in, and when it asks for a refresh token by ``offline_access``."""

from __future__ import annotations

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.metadata import Discovered, ServerMetadata
from dynamic_mcp.oauth.sign_in_request import SignInRequest
from dynamic_mcp.oauth.tokens import ClientRegistration

OFFLINE = "offline_access"


class NothingToAsk(UpstreamFailed):
    """The server wants more scopes and names none, so the user cannot help."""


def wanted_scope(request: SignInRequest, challenge: Challenge, found: Discovered) -> str | None:
    """The scope to request: the configured one, else that of the challenge, else what the resource supports.

    MCP 2025-11-25, basic/authorization, "Scope Selection Strategy". A step-up adds to the granted scope (MCP 2026-07-28,
    basic/authorization, "Step-Up Authorization Flow"). Raises NothingToAsk.
    """
    if challenge.error == "insufficient_scope":
        chosen = _stepped_up(request, challenge, found)
    elif request.scopes:
        chosen = list(request.scopes)
    elif challenge.scope is not None:
        chosen = challenge.scope.split()
    else:
        chosen = list(found.scopes_supported or [])
    # Alone it would replace the default scopes of the server. Configured scopes are the user's decision.
    if chosen and not request.scopes and not request.oauth.is_machine and _offers_offline(found.server):
        chosen.append(OFFLINE)
    return " ".join(dict.fromkeys(chosen)) or None


def _stepped_up(request: SignInRequest, challenge: Challenge, found: Discovered) -> list[str]:
    granted = (request.granted or " ".join(request.scopes)).split()
    if challenge.scope:
        return [*granted, *challenge.scope.split()]
    # Servers of the official Python SDK do not say what is missing.
    known = {*granted, *(request.requested or "").split()}
    missing = [scope for scope in found.scopes_supported or [] if scope not in known]
    if not missing:
        raise NothingToAsk(
            "it refuses the call with insufficient_scope, does not say which scope is missing, "
            "and its metadata list none that a sign-in has not requested; to be asked again, run: "
            f"dynamic-mcp logout {request.server}, then dynamic-mcp login {request.server}"
        )
    return [*granted, *missing]


def needs_consent(server: ServerMetadata, client: ClientRegistration, scope: str | None) -> bool:
    """Whether the request needs ``prompt=consent`` for a refresh token (OpenID Connect Core 1.0, section 11).

    A client that registered itself has no consent yet, so the prompt costs the user nothing. For a client that an administrator
    registered, the administrator may have consented, and many tenants let no user do it.
    """
    is_openid = "openid" in (server.scopes_supported or [])
    return client.registered and is_openid and OFFLINE in (scope or "").split()


def allowed_scope(client: ClientRegistration, scope: str | None) -> str | None:
    """The scope without ``offline_access``, if the server left that out of the registration."""
    words = (scope or "").split()
    if client.given_scope is not None and OFFLINE not in client.given_scope.split():
        words = [word for word in words if word != OFFLINE]
    return " ".join(words) or None


def covers(client: ClientRegistration, scope: str | None) -> bool:
    """Whether a registered client may ask for this scope."""
    return set((scope or "").split()) <= set((client.scope or "").split())


def _offers_offline(server: ServerMetadata) -> bool:
    return OFFLINE in (server.scopes_supported or [])
