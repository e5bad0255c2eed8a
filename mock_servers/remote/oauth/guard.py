"""Protects the MCP URL: admits requests with a valid bearer token, and routes requests for the authorization server."""

import json
from urllib.parse import urlsplit

from mock_servers.journal import Journal
from mock_servers.oauth_script import Endpoint, OAuth
from mock_servers.remote.exchange import HttpExchange, respond_json
from mock_servers.remote.oauth.endpoints import OAuthEndpoints
from mock_servers.remote.oauth.metadata import OAuthMetadata
from mock_servers.remote.oauth.token_registry import TokenRegistry


class OAuthGuard:
    """The guard of one mock; usable once `open` has set its URLs."""

    _metadata: OAuthMetadata
    _endpoints: OAuthEndpoints

    def __init__(self, oauth: OAuth, journal: Journal, messages_path: str = "") -> None:
        """`messages_path` is another protected path: the endpoint for messages of HTTP+SSE."""
        self.token_registry = TokenRegistry(oauth)
        self._oauth = oauth
        self._journal = journal
        self._messages_path = messages_path
        #: the endpoint at each host and path
        self._routes: dict[tuple[str, str], Endpoint] = {}
        self._protected: list[tuple[str, str]] = []
        #: the token of each session, if sessions are bound to theirs
        self._owners: dict[str, str] = {}

    def open(self, mcp: str, origin: str) -> str:
        """Protect this MCP URL, with the authorization server at `origin`. Returns the issuer."""
        metadata = self._metadata = OAuthMetadata(self._oauth, mcp, origin)
        self.token_registry.audiences = [metadata.issuer, f"{metadata.issuer}/token"]
        self._endpoints = OAuthEndpoints(self._oauth, metadata, self.token_registry, self._journal)
        path = urlsplit(mcp).path
        root = mcp.removesuffix(path)
        named = str(metadata.resource().get("resource", mcp))
        self.token_registry.resources = list(dict.fromkeys([mcp, f"{mcp}/", named, root, f"{root}/"]))
        host, server = urlsplit(mcp).netloc, urlsplit(origin).netloc
        self._protected = [(host, path), (host, self._messages_path)]
        self._routes |= {(host, path): "resource_metadata" for path in metadata.resource_paths}
        self._routes |= {(server, path): "server_metadata" for path in metadata.server_paths}
        self._routes[server, f"{self._oauth.issuer_path}/authorize"] = "authorize"
        self._routes[server, f"{self._oauth.issuer_path}/token"] = "token"
        if self._oauth.registration:
            self._routes[server, f"{self._oauth.issuer_path}/register"] = "register"
        return metadata.issuer

    def admits(self, exchange: HttpExchange) -> bool:
        """Whether the request may reach the MCP server. If not, the guard has answered it."""
        target = exchange.header("Host") or "", exchange.target.partition("?")[0]
        if self._is_held_back(exchange, target):
            exchange.respond(403, b"<html>access denied</html>", {"Content-Type": "text/html"})
            return False
        if target in self._routes:
            self._endpoints.serve(self._routes[target], exchange)
            return False
        if target not in self._protected:
            exchange.respond(404, b"Not Found")
            return False
        return self._has_valid_token(exchange)

    def _is_held_back(self, exchange: HttpExchange, target: tuple[str, str]) -> bool:
        """Whether the gateway of the MCP origin refuses the request."""
        host = self._protected[0][0]
        if target[0] != host or self._routes.get(target) == "authorize":
            return False
        return any(exchange.header(name) != value for name, value in self._oauth.gateway.items())

    def _has_valid_token(self, exchange: HttpExchange) -> bool:
        scheme, _, token = (exchange.header("Authorization") or "").partition(" ")
        sent = scheme.lower() == "bearer"
        scopes = self.token_registry.scopes_of(token.strip()) if sent else None
        if scopes is not None and not self._is_owner(exchange, token.strip()):
            scopes = None
        if scopes is None and sent and self._oauth.any_token:
            return True
        if scopes is None and not sent and _method_in(exchange.body) in self._oauth.open_methods:
            return True
        if scopes is None:
            respond_json(exchange, 401, {"error": "unauthorized"}, self._challenge(sent))
            return False
        needed = self._oauth.tool_scopes.get(_tool_in(exchange.body) or "")
        if needed is None or (needed in scopes and not self._oauth.never_enough):
            return True
        asked = needed.replace("$n", str(exchange.n))
        named = f'scope="{asked}", ' if self._oauth.names_missing_scope else ""
        words = f'Bearer error="insufficient_scope", {named}resource_metadata="$metadata"'
        challenge = self._metadata.fill_challenge(words)
        respond_json(exchange, 403, {"error": "insufficient_scope"}, {"WWW-Authenticate": challenge})
        return False

    def _is_owner(self, exchange: HttpExchange, token: str) -> bool:
        """Whether this token may be used in the session of the request."""
        session = exchange.header("Mcp-Session-Id")
        if session is None or not self._oauth.bound_sessions:
            return True
        return self._owners.setdefault(session, token) == token

    def _challenge(self, sent: bool) -> dict[str, str]:
        whole = ", ".join(self._metadata.fill_challenge(challenge) for challenge in self._oauth.challenges)
        if sent and "Bearer" in whole:
            comma = "," if "Bearer " in whole else ""
            whole = whole.replace("Bearer", f'Bearer error="invalid_token"{comma}', 1)
        return {"WWW-Authenticate": whole} if whole else {}


def _method_in(body: bytes) -> str | None:
    """The method of a request or notification; None for any other body."""
    try:
        method = json.loads(body)["method"]
    except (ValueError, KeyError, TypeError):
        return None
    return method if isinstance(method, str) else None


def _tool_in(body: bytes) -> str | None:
    """The tool that a call names; None for any other body."""
    try:
        message = json.loads(body)
        name = message["params"]["name"] if message["method"] == "tools/call" else None
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
