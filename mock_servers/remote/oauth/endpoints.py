"""The endpoints of the authorization server: metadata, authorization, tokens and registration."""

import base64
import binascii
import codecs
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from mock_servers.browser import USER
from mock_servers.journal import Journal
from mock_servers.oauth_script import Endpoint, OAuth
from mock_servers.remote.exchange import HttpExchange, respond_json
from mock_servers.remote.oauth.faults import DelayedExchange, FaultCounter, fail, run_after
from mock_servers.remote.oauth.metadata import OAuthMetadata
from mock_servers.remote.oauth.token_registry import OAuthRefusal, TokenRegistry

Handler = Callable[[Any], None]


class OAuthEndpoints:
    """Serves every endpoint, and plays the faults of the script."""

    def __init__(
        self, oauth: OAuth, metadata: OAuthMetadata, token_registry: TokenRegistry, journal: Journal
    ) -> None:
        self._oauth = oauth
        self._metadata = metadata
        self._token_registry = token_registry
        self._journal = journal
        self._faults = FaultCounter(oauth.faults)
        self._handlers: dict[Endpoint, Handler] = {
            "resource_metadata": self._resource_metadata,
            "server_metadata": self._server_metadata,
            "authorize": self._authorize,
            "token": self._token,
            "register": self._register,
        }

    def serve(self, endpoint: Endpoint, exchange: HttpExchange) -> None:
        """Answer a request to this endpoint."""
        grant = dict(parse_qsl(exchange.body.decode(errors="replace"))).get("grant_type")
        delay, fault = self._faults.next(endpoint, grant)
        handler = self._handlers[endpoint]
        if fault is not None:
            self._write(endpoint, exchange, _body_pairs(exchange), problem="fault")
            run_after(delay, partial(fail, exchange, fault))
        elif not delay:
            handler(exchange)
        else:
            # The request has its effect at once, so that a second request meets it; only the response is late.
            delayed = DelayedExchange(exchange)
            handler(delayed)
            run_after(delay, delayed.release)

    def _resource_metadata(self, exchange: HttpExchange) -> None:
        respond_json(exchange, 200, self._metadata.resource())

    def _server_metadata(self, exchange: HttpExchange) -> None:
        openid = "/openid-configuration" in exchange.target
        respond_json(exchange, 200, self._metadata.server(openid=openid))

    def _authorize(self, exchange: HttpExchange) -> None:
        pairs = parse_qsl(exchange.target.partition("?")[2], keep_blank_values=True)
        params, user = dict(pairs), exchange.header(USER) or "approves"
        try:
            _refuse_repeated(pairs)
            code = self._token_registry.authorize(params)
            if user == "denies":
                raise OAuthRefusal("access_denied", "the user denied")
            if self._oauth.error is not None:
                raise OAuthRefusal(self._oauth.error, "as in the script")
        except OAuthRefusal as refusal:
            self._write("authorize", exchange, pairs, str(refusal))
            if not refusal.redirects:
                respond_json(exchange, 400, _error(refusal))
                return
            response = _error(refusal)
        else:
            self._write("authorize", exchange, pairs, issued={"code": code})
            response = {"code": code}
        if "state" in params:
            response["state"] = params["state"]
        if self._oauth.iss is not None:
            response["iss"] = self._metadata.fill(self._oauth.iss)
        separator = "&" if "?" in params["redirect_uri"] else "?"
        location = params["redirect_uri"] + separator + urlencode(response)
        exchange.respond(302, b"", {"Location": location})

    def _token(self, exchange: HttpExchange) -> None:
        pairs: list[tuple[str, str]] = []
        try:
            kind = (exchange.header("Content-Type") or "").partition(";")[0].strip().lower()
            if exchange.verb != "POST" or kind != "application/x-www-form-urlencoded":
                raise OAuthRefusal("invalid_request", f"{exchange.verb} with {kind!r}")
            pairs = _body_pairs(exchange)
            _refuse_repeated(pairs)
            issued = self._token_registry.exchange(dict(pairs), _basic(exchange.header("Authorization")))
        except OAuthRefusal as refusal:
            self._write("token", exchange, pairs, str(refusal))
            respond_json(exchange, 401 if refusal.error == "invalid_client" else 400, _error(refusal))
        else:
            self._write("token", exchange, pairs, issued=issued)
            self._respond_tokens(exchange, issued)

    def _respond_tokens(self, exchange: HttpExchange, issued: dict[str, Any]) -> None:
        oauth = self._oauth
        members = {k: v for k, v in {**issued, **oauth.token_fields}.items() if v is not None}
        body, kind = json.dumps(members).encode(), "application/json"
        if oauth.token_form == "form":
            body, kind = urlencode(members).encode(), "application/x-www-form-urlencoded"
        elif oauth.token_form != "json":
            body = codecs.BOM_UTF8 + body
        exchange.respond(oauth.token_status, body, {"Content-Type": kind, "Cache-Control": "no-store"})

    def _register(self, exchange: HttpExchange) -> None:
        try:
            params = json.loads(exchange.body)
        except ValueError:
            params = None
        try:
            if exchange.verb != "POST" or not isinstance(params, dict):
                raise OAuthRefusal("invalid_client_metadata", "not a POST with a JSON object")
            issued = self._token_registry.register(params)
        except OAuthRefusal as refusal:
            self._write("register", exchange, params, str(refusal))
            respond_json(exchange, 400, _error(refusal))
        else:
            self._write("register", exchange, params, issued=issued)
            respond_json(exchange, 201, issued, {"Cache-Control": "no-store"})

    def _write(
        self,
        event: Endpoint,
        exchange: HttpExchange,
        params: Any,
        problem: str | None = None,
        issued: dict[str, Any] | None = None,
    ) -> None:
        self._journal.write(event, n=exchange.n, params=params, problem=problem, issued=issued or {})


def _error(refusal: OAuthRefusal) -> dict[str, str]:
    return {"error": refusal.error, "error_description": refusal.reason}


def _body_pairs(exchange: HttpExchange) -> list[tuple[str, str]]:
    return parse_qsl(exchange.body.decode(errors="replace"), keep_blank_values=True)


def _refuse_repeated(pairs: list[tuple[str, str]]) -> None:
    """RFC 6749 (section 3.1) allows no parameter more than once; RFC 8707 (section 2) excepts `resource`."""
    names = Counter(name for name, _ in pairs if name != "resource")
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise OAuthRefusal("invalid_request", f"repeated: {', '.join(repeated)}", redirects=False)


def _basic(header: str | None) -> tuple[str, str] | None:
    """The client id and secret of HTTP Basic, encoded as in RFC 6749, section 2.3.1; None without such a header."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthRefusal("invalid_client", "unreadable Authorization header") from None
    return unquote(name.replace("+", " ")), unquote(secret.replace("+", " "))
