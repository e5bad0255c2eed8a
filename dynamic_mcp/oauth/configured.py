"""The client that an entry configures. Its secret and its key come from the configuration, and are stored nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from dynamic_mcp import files
from dynamic_mcp.config.model import OAuthSettings, SigningKey
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import assertion
from dynamic_mcp.oauth.metadata import ServerMetadata
from dynamic_mcp.oauth.tokens import ClientRegistration, Signing

_SECRET_METHODS = ("client_secret_basic", "client_secret_post")
_MAX_KEY = 1 << 16


def configured_client(client_id: str, settings: OAuthSettings, server: ServerMetadata) -> ClientRegistration:
    """The client with its secret or key, which authenticates as the server wants. Raises UpstreamFailed."""
    offered = server.token_endpoint_auth_methods_supported or []
    # The default is client_secret_basic (RFC 8414, section 2).
    method = next((method for method in _SECRET_METHODS if method in offered), _SECRET_METHODS[0])
    may_be_in_form = not offered or "client_secret_post" in offered
    client = ClientRegistration(client_id, method=method, audience=server.issuer, is_guess=may_be_in_form)
    client = completed(client, settings)
    if client.key is not None:
        # A key that cannot be used shows before the browser opens.
        assertion.signed(client.key, client_id, server.issuer)
    return client


def completed(client: ClientRegistration, settings: OAuthSettings) -> ClientRegistration:
    """A stored client with its secret or key. Raises UpstreamFailed."""
    if client.registered:
        return client
    if settings.key is not None:
        return msgspec.structs.replace(
            client, method="private_key_jwt", is_guess=False, key=_signing(settings.key)
        )
    if settings.client_secret is not None:
        method = client.method if client.method in _SECRET_METHODS else _SECRET_METHODS[0]
        return msgspec.structs.replace(
            client, method=method, client_secret=settings.client_secret.reveal(), audience=None
        )
    return msgspec.structs.replace(client, method="none", audience=None, is_guess=False)


def without_secrets(client: ClientRegistration | None) -> ClientRegistration | None:
    """What the store may have of a client: the secret of a registration belongs there, a configured one does not."""
    if client is None or client.registered:
        return client
    return msgspec.structs.replace(client, client_secret=None, key=None)


def named_resource(settings: OAuthSettings, resource: str) -> dict[str, str]:
    """The parameter that names the resource (RFC 8707), if the entry has it."""
    if isinstance(settings.resource, str):
        return {"resource": settings.resource}
    return {"resource": resource} if settings.resource else {}


def _signing(key: SigningKey) -> Signing:
    if key.pem is not None:
        # A variable can hold the lines of the text with \\n between them.
        pem = key.pem.reveal().replace("\\n", "\n")
    else:
        path = Path(key.file or "")
        try:
            pem = files.read(path, _MAX_KEY, follow=True).decode()
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or "it is no PEM text"
            raise UpstreamFailed(
                f"the file of its private_key_jwt cannot be read: {os.fspath(path)}: {problem}"
            ) from None
    return Signing(pem, key.algorithm, key.key_id)
