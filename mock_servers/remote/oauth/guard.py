"""Serves the endpoints of the authorization server, and lets only good tokens through to the MCP URL."""

import base64
import binascii
import json
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from mock_servers.browser import USER
from mock_servers.journal import Journal
from mock_servers.oauth_script import Endpoint, Fault, OAuth
from mock_servers.remote.exchange import Exchange
from mock_servers.remote.oauth.token_registry import Ledger, Refusal

Answer = tuple[int, dict[str, Any] | None, dict[str, str]]
#: what OpenID Connect Discovery 1.0, section 3, wants beyond RFC 8414; strict clients refuse a document without it
_OPENID = {
    "jwks_uri": "$issuer/keys",
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}

_Serve = Callable[["Guard", Any], None]


class Guard:
    """What stands before a mock, once `open` has said where it is."""

    def __init__(self, oauth: OAuth, journal: Journal, beside: str = "") -> None:
        """`beside` is another path that wants a token: the endpoint for messages of HTTP+SSE."""
        self.oauth = oauth
        self._beside = beside
        self.ledger = Ledger(oauth)
        self.mcp = self.issuer = self._origin = ""
        self._journal = journal
        self._seen: Counter[int] = Counter()
        self._routes: dict[tuple[str, str], tuple[Endpoint, _Serve]] = {}

    def open(self, mcp: str, origin: str) -> str:
        """Stand before this MCP URL, with the authorization server at `origin`; its issuer."""
        self.mcp, self._origin, path = mcp, origin, self.oauth.issuer_path
        self.issuer = origin + path
        root = mcp.removesuffix(urlsplit(mcp).path)
        named = str(self.resource_document().get("resource", mcp))
        self.ledger.resources = list(dict.fromkeys([mcp, f"{mcp}/", named, root, f"{root}/"]))
        here = _netloc(origin)
        metadata = [(here, self._filled(place, path)) for place in self.oauth.server_metadata]
        self._routes |= {
            (_netloc(mcp), place): ("resource_metadata", Guard._resource_metadata)
            for place in self._prm_paths
        }
        self._routes |= dict.fromkeys(metadata, ("server_metadata", Guard._server_metadata))
        self._routes[here, f"{path}/authorize"] = "authorize", Guard._authorize
        self._routes[here, f"{path}/token"] = "token", Guard._token
        if self.oauth.registration:
            self._routes[here, f"{path}/register"] = "register", Guard._register
        return self.issuer

    def admits(self, exchange: Exchange) -> bool:
        """May the request go on to the MCP server? If not, it was answered here."""
        path = exchange.target.partition("?")[0]
        place = exchange.header("Host") or "", path
        if place in self._routes:
            endpoint, serve = self._routes[place]
            self._meet(endpoint, exchange, serve)
            return False
        if place not in [(_netloc(self.mcp), locked) for locked in (urlsplit(self.mcp).path, self._beside)]:
            exchange.respond(404, b"Not Found")
            return False
        return self._has_good_token(exchange)

    # Metadata

    @property
    def _prm_paths(self) -> list[str]:
        return [self._filled(path, urlsplit(self.mcp).path) for path in self.oauth.resource_metadata]

    def resource_document(self) -> dict[str, Any]:
        """RFC 9728."""
        document = {"resource": self.mcp, "authorization_servers": [self.issuer]}
        return self._changed(document, self.oauth.resource_fields)

    def server_document(self) -> dict[str, Any]:
        """RFC 8414."""
        document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        }
        if self.oauth.registration:
            document["registration_endpoint"] = f"{self.issuer}/register"
        if self.oauth.cimd:
            document["client_id_metadata_document_supported"] = True
        return self._changed(document, self.oauth.server_fields)

    def _changed(self, document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        whole = {**document, **changes}
        filled: dict[str, Any] = json.loads(self._filled(json.dumps(whole)))
        return {name: value for name, value in filled.items() if value is not None}

    def _filled(self, text: str, path: str = "") -> str:
        for name, value in {
            "ISSUER": self.issuer.upper(),
            "issuer": self.issuer,
            "origin": self._origin,
            "mcp": self.mcp,
            "path": path,
        }.items():
            text = text.replace(f"${name}", value)
        return text

    def _resource_metadata(self, exchange: Exchange) -> None:
        _respond(exchange, (200, self.resource_document(), {}))

    def _server_metadata(self, exchange: Exchange) -> None:
        document = self.server_document()
        if "/openid-configuration" in exchange.target:
            document = {**self._changed(_OPENID, {}), **document}
        _respond(exchange, (200, document, {}))

    # Faults

    def _meet(self, endpoint: Endpoint, exchange: Exchange, serve: _Serve) -> None:
        grant = dict(parse_qsl(exchange.body.decode(errors="replace"))).get("grant_type")
        delay = 0.0
        for number, fault in enumerate(self.oauth.faults):
            if fault.at != endpoint or fault.grant not in (None, grant):
                continue
            self._seen[number] += 1
            if not fault.meets(self._seen[number]):
                continue
            delay = max(delay, fault.delay)
            if fault.cut or fault.status is not None:
                self._write(endpoint, exchange, _pairs(exchange), problem="fault")
                _later(delay, partial(_fail, exchange, fault))
                return
        if not delay:
            serve(self, exchange)
            return
        # The effect is there at once, so that a second request meets it; only the answer is late.
        late = _Late(exchange)
        serve(self, late)
        _later(delay, late.release)

    # Endpoints

    def _authorize(self, exchange: Exchange) -> None:
        pairs = parse_qsl(exchange.target.partition("?")[2], keep_blank_values=True)
        asked, user = dict(pairs), exchange.header(USER) or "approves"
        try:
            _once(pairs)
            code = self.ledger.authorize(asked)
            if user == "denies":
                raise Refusal("access_denied", "the user denied")
            if self.oauth.error is not None:
                raise Refusal(self.oauth.error, "as the script says")
        except Refusal as refusal:
            self._write("authorize", exchange, pairs, str(refusal))
            if not refusal.redirects:
                _respond(exchange, (400, {"error": refusal.error, "error_description": refusal.why}, {}))
                return
            response = {"error": refusal.error, "error_description": refusal.why}
        else:
            self._write("authorize", exchange, pairs, issued={"code": code})
            response = {"code": code}
        if "state" in asked:
            response["state"] = asked["state"]
        if self.oauth.iss is not None:
            response["iss"] = self._filled(self.oauth.iss)
        joint = "&" if "?" in asked["redirect_uri"] else "?"
        location = asked["redirect_uri"] + joint + urlencode(response)
        _respond(exchange, (302, None, {"Location": location}))

    def _token(self, exchange: Exchange) -> None:
        pairs: list[tuple[str, str]] = []
        try:
            kind = (exchange.header("Content-Type") or "").partition(";")[0].strip().lower()
            if exchange.verb != "POST" or kind != "application/x-www-form-urlencoded":
                raise Refusal("invalid_request", f"{exchange.verb} with {kind!r}")
            pairs = _pairs(exchange)
            _once(pairs)
            given = self.ledger.exchange(dict(pairs), _basic(exchange.header("Authorization")))
        except Refusal as refusal:
            self._write("token", exchange, pairs, str(refusal))
            status = 401 if refusal.error == "invalid_client" else 400
            _respond(exchange, (status, {"error": refusal.error, "error_description": refusal.why}, {}))
        else:
            self._write("token", exchange, pairs, issued=given)
            _respond(exchange, (200, given, {"Cache-Control": "no-store"}))

    def _register(self, exchange: Exchange) -> None:
        try:
            asked = json.loads(exchange.body)
        except ValueError:
            asked = None
        try:
            if exchange.verb != "POST" or not isinstance(asked, dict):
                raise Refusal("invalid_client_metadata", "not a POST with a JSON object")
            given = self.ledger.register(asked)
        except Refusal as refusal:
            self._write("register", exchange, asked, str(refusal))
            _respond(exchange, (400, {"error": refusal.error, "error_description": refusal.why}, {}))
        else:
            self._write("register", exchange, asked, issued=given)
            _respond(exchange, (201, given, {"Cache-Control": "no-store"}))

    def _write(
        self,
        event: Endpoint,
        exchange: Exchange,
        params: Any,
        problem: str | None = None,
        issued: dict[str, Any] | None = None,
    ) -> None:
        self._journal.write(event, n=exchange.n, params=params, problem=problem, issued=issued or {})

    # The lock

    def _has_good_token(self, exchange: Exchange) -> bool:
        scheme, _, token = (exchange.header("Authorization") or "").partition(" ")
        sent = scheme.lower() == "bearer"
        scopes = self.ledger.scopes_of(token.strip()) if sent else None
        if scopes is None and sent and self.oauth.any_token:
            return True
        if scopes is None:
            _respond(exchange, (401, {"error": "unauthorized"}, self._challenge(sent)))
            return False
        needed = self.oauth.tool_scopes.get(_tool_in(exchange.body) or "")
        if needed is None or (needed in scopes and not self.oauth.never_enough):
            return True
        words = f'Bearer error="insufficient_scope", scope="{needed}", resource_metadata="$metadata"'
        challenge = self._with_metadata(words)
        _respond(exchange, (403, {"error": "insufficient_scope"}, {"WWW-Authenticate": challenge}))
        return False

    def _challenge(self, sent: bool) -> dict[str, str]:
        whole = ", ".join(self._with_metadata(challenge) for challenge in self.oauth.challenges)
        if sent and "Bearer" in whole:
            comma = "," if "Bearer " in whole else ""
            whole = whole.replace("Bearer", f'Bearer error="invalid_token"{comma}', 1)
        return {"WWW-Authenticate": whole} if whole else {}

    def _with_metadata(self, challenge: str) -> str:
        if not self._prm_paths:
            return challenge.partition(" resource_metadata=")[0].rstrip(",")
        whole = urlsplit(self.mcp)
        return self._filled(
            challenge.replace("$metadata", f"{whole.scheme}://{whole.netloc}{self._prm_paths[0]}")
        )


class _Late:
    """An exchange whose response is kept back until `release`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._response: tuple[int, bytes, dict[str, str]] = (500, b"", {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def respond(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self._response = status, body, headers or {}

    def release(self) -> None:
        self._exchange.respond(*self._response)


def _respond(exchange: Exchange, answer: Answer) -> None:
    status, document, headers = answer
    body = b"" if document is None else json.dumps(document).encode()
    kind = {} if document is None else {"Content-Type": "application/json"}
    exchange.respond(status, body, {**kind, **headers})


def _fail(exchange: Exchange, fault: Fault) -> None:
    if fault.cut:
        exchange.cut()
    else:
        _respond(exchange, (fault.status or 500, fault.body, fault.headers))


def _later(delay: float, work: Callable[[], None]) -> None:
    if not delay:
        work()
        return
    timer = threading.Timer(delay, work)
    timer.daemon = True
    timer.start()


def _netloc(url: str) -> str:
    return urlsplit(url).netloc


def _pairs(exchange: Exchange) -> list[tuple[str, str]]:
    return parse_qsl(exchange.body.decode(errors="replace"), keep_blank_values=True)


def _once(pairs: list[tuple[str, str]]) -> None:
    """RFC 6749 section 3.1: no parameter more than once; RFC 8707 excepts `resource`."""
    names = Counter(name for name, _ in pairs if name != "resource")
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise Refusal("invalid_request", f"repeated: {', '.join(repeated)}", redirects=False)


def _basic(header: str | None) -> tuple[str, str] | None:
    """Name and secret of HTTP Basic, as RFC 6749 section 2.3.1 encodes them."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Refusal("invalid_client", "unreadable Authorization header") from None
    return unquote(name.replace("+", " ")), unquote(secret.replace("+", " "))


def _tool_in(body: bytes) -> str | None:
    try:
        message = json.loads(body)
        name = message["params"]["name"] if message["method"] == "tools/call" else None
    except (ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None
