"""Legitimate designs: requests before the first message to a server, and after a sign-in."""

from __future__ import annotations

import json
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conformance.mutants import legitimate, replace
from dynamic_mcp.oauth import token_endpoint

_RESOURCE = "/.well-known/oauth-protected-resource"


@legitimate("HTTP-007", "HTTP-022", "HTTP-023", "SSE-001", "SSE-015", "OAUTH-024")
def looks_for_a_sign_in_before_its_first_message() -> None:
    for url in _urls():
        parts = urlsplit(url)
        for path in (f"{_RESOURCE}{parts.path}", _RESOURCE):
            _ask(f"{parts.scheme}://{parts.netloc}{path}")


@legitimate("HTTP-022", "HTTP-060", "HTTP-061", "HTTP-062")
def tries_initialize_at_servers_of_both_eras() -> None:
    """A modern server answers 400 to that."""
    client = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": "era", "method": "initialize", "params": client}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    for url in _urls():
        _ask(url, json.dumps(message).encode(), headers)


@legitimate("OAUTH-001", "OAUTH-024", "SSE-004", "TOK-004")
def reads_the_metadata_again_after_a_sign_in() -> None:
    right = token_endpoint.request_tokens

    async def request_tokens(http: Any, *arguments: Any, **options: Any) -> Any:
        found = await right(http, *arguments, **options)
        for url in _urls():
            parts = urlsplit(url)
            await http.get(f"{parts.scheme}://{parts.netloc}{_RESOURCE}")
        return found

    replace(right, request_tokens)


def _urls() -> list[str]:
    """The URLs in the configurations that the command line names."""
    paths = [Path(word) for word in sys.argv[1:] if word.endswith(".json")]
    servers = [json.loads(path.read_text(encoding="utf-8"))["mcpServers"] for path in paths]
    return [entry["url"] for one in servers for entry in one.values() if "url" in entry]


def _ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> None:
    with suppress(OSError):
        urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=2).read()
