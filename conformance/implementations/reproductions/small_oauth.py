"""A small MCP server that requires a sign-in, and its authorization server. It needs only the standard library.

It never grants anything: a program sees only whether the proxy begins to sign in, and which documents it asks for.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE = "/.well-known/oauth-protected-resource"


class Protected:
    """A server on a free port of 127.0.0.1. Its MCP endpoint answers 401 with `challenge`.

    `documents` has the JSON object at each path. `$origin` in the challenge and in texts of a document is its origin.
    """

    def __init__(self, documents: dict[str, dict[str, Any]], challenge: str = "Bearer") -> None:
        self.documents = documents
        self.challenge = challenge
        self.asked: list[str] = []
        handler = type("Handler", (_Handler,), {"protected": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.origin}/mcp"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Protected:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def text(self, template: str) -> str:
        return template.replace("$origin", self.origin)


def metadata(issuer: str = "$origin", **members: Any) -> dict[str, Any]:
    """The metadata of an authorization server; None for a member leaves it out."""
    whole = {
        "issuer": issuer,
        "authorization_endpoint": "$origin/authorize",
        "token_endpoint": "$origin/token",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        **members,
    }
    return {name: value for name, value in whole.items() if value is not None}


def resource(server: str = "$origin", resource: str = "$origin/mcp") -> dict[str, Any]:
    """The metadata of the MCP server, which name its authorization server."""
    return {"resource": resource, "authorization_servers": [server]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    protected: Protected

    def log_message(self, *args: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.protected.asked.append(path)
        document = self.protected.documents.get(path)
        if path == "/mcp":
            self._answer(401)
        elif document is None:
            self._answer(404)
        else:
            self._answer(200, self.protected.text(json.dumps(document)).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(401 if self.path == "/mcp" else 400)

    def _answer(self, status: int, body: bytes = b"{}") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", self.protected.text(self.protected.challenge))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
