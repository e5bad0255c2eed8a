"""The metadata documents of a protected resource and its authorization server, with the placeholders of `OAuth` filled."""

import json
from typing import Any
from urllib.parse import urlsplit

from mock_servers.oauth_script import OAuth

#: members that OpenID Connect Discovery 1.0 section 3 requires beyond RFC 8414; strict clients insist on them
_OPENID = {
    "jwks_uri": "$issuer/keys",
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}


class OAuthMetadata:
    """The documents for one MCP URL and the `origin` of its authorization server, and the paths of the documents."""

    def __init__(self, oauth: OAuth, mcp: str, origin: str) -> None:
        self.mcp = mcp
        self.issuer = origin + oauth.issuer_path
        self._oauth = oauth
        self._origin = origin
        self.resource_paths = [self.fill(path, urlsplit(mcp).path) for path in oauth.resource_metadata]
        self.server_paths = [self.fill(path, oauth.issuer_path) for path in oauth.server_metadata]

    def resource(self) -> dict[str, Any]:
        """The metadata of the protected resource (RFC 9728)."""
        document = {"resource": self.mcp, "authorization_servers": [self.issuer]}
        return self._fill_all({**document, **self._oauth.resource_fields})

    def server(self, *, openid: bool) -> dict[str, Any]:
        """The metadata of the authorization server (RFC 8414), or its OpenID configuration."""
        document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        }
        if self._oauth.registration:
            document["registration_endpoint"] = f"{self.issuer}/register"
        if self._oauth.cimd:
            document["client_id_metadata_document_supported"] = True
        document |= self._oauth.server_fields
        if not openid:
            return self._fill_all(document)
        return {**self._fill_all(_OPENID), **self._fill_all({**document, **self._oauth.openid_fields})}

    def fill(self, text: str, path: str = "") -> str:
        """The text with its placeholders filled; `path` is the value of `$path`."""
        for name, value in {
            "ISSUER": self.issuer.upper(),
            "issuer": self.issuer,
            "origin": self._origin,
            "mcp": self.mcp,
            "path": path,
        }.items():
            text = text.replace(f"${name}", value)
        return text

    def fill_challenge(self, challenge: str) -> str:
        """A WWW-Authenticate challenge with the URL of the resource metadata, or without it if there is none."""
        if not self.resource_paths:
            return challenge.partition(" resource_metadata=")[0].rstrip(",")
        mcp = urlsplit(self.mcp)
        url = f"{mcp.scheme}://{mcp.netloc}{self.resource_paths[0]}"
        return self.fill(challenge.replace("$metadata", url))

    def _fill_all(self, document: dict[str, Any]) -> dict[str, Any]:
        filled: dict[str, Any] = json.loads(self.fill(json.dumps(document)))
        return {name: value for name, value in filled.items() if value is not None}
