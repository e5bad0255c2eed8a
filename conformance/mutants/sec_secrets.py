"""Mistakes that let secrets out: into the log, to the client, to other processes and to other servers."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec

from conformance.mutants import mutant, replace
from conformance.mutants.wire_http import change_requests, whole_body
from dynamic_mcp import server
from dynamic_mcp.config.load import parse
from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import ConfigError, HttpStatus, UpstreamGone
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.log import log
from dynamic_mcp.oauth import token_endpoint
from dynamic_mcp.oauth.callback import Callback
from dynamic_mcp.oauth.fresh_tokens import FreshTokens
from dynamic_mcp.upstream.http.client import HttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from conformance.mutants.wire_http import ProxyRequest
    from dynamic_mcp.config.diff import Diff
    from dynamic_mcp.config.model import Config, RemoteTransport, Server
    from dynamic_mcp.oauth.tokens import Tokens
    from dynamic_mcp.upstream.base import Connector
    from dynamic_mcp.upstream.http.client import Credentials
    from dynamic_mcp.upstream.http.reply import HttpReply


@mutant("SEC-001")
def logs_new_tokens() -> None:
    right = FreshTokens.keep

    async def wrong(self: FreshTokens, tokens: Tokens) -> None:
        log.debug("new tokens: %s", msgspec.json.encode(tokens).decode())
        await right(self, tokens)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_form_of_a_token_request() -> None:
    right = token_endpoint.request_tokens

    async def wrong(http: Any, endpoint: str, client: Any, form: dict[str, str]) -> Tokens:
        log.debug("a token request: %s", urlencode({"code": form.get("code", "")}))
        return await right(http, endpoint, client, form)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_verifier() -> None:
    right = token_endpoint.request_tokens

    async def wrong(http: Any, endpoint: str, client: Any, form: dict[str, str]) -> Tokens:
        log.debug("the proof: %s", form.get("code_verifier"))
        return await right(http, endpoint, client, form)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_callback() -> None:
    right = Callback.judge

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        log.info("the browser came back: %s", target)
        return right(self, method, target)

    replace(right, wrong)


@mutant("SEC-001")
def logs_headers_in_base64() -> None:
    right = HttpClient.__init__

    def wrong(self: HttpClient, url: str, headers: Mapping[str, str], *more: Any, **named: Any) -> None:
        log.debug("headers: %s", base64.b64encode(repr(headers).encode()).decode())
        right(self, url, headers, *more, **named)

    replace(right, wrong)


@mutant("SEC-001")
def logs_new_tokens_with_each_byte_percent_encoded() -> None:
    _log_new_tokens(lambda token: "".join(f"%{byte:02x}" for byte in token.encode()))


@mutant("SEC-001")
def logs_new_tokens_in_hexadecimal() -> None:
    _log_new_tokens(lambda token: token.encode().hex())


def _log_new_tokens(shown: Callable[[str], str]) -> None:
    right = FreshTokens.keep

    async def wrong(self: FreshTokens, tokens: Tokens) -> None:
        log.debug("a token: %s", shown(tokens.access_token))
        await right(self, tokens)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_environment_of_children() -> None:
    right = server.connector

    def wrong(configured: Server, *more: Any) -> Connector:
        if isinstance(configured.transport, StdioTransport):
            log.debug("a child gets %s", {name: value.reveal() for name, value in configured.transport.env})
        return right(configured, *more)

    replace(right, wrong)


@mutant("SEC-001")
def logs_a_changed_server() -> None:
    """With its headers and variables."""
    right = Supervisor.apply

    def wrong(self: Supervisor, new: Config, changes: Diff) -> None:
        for changed in changes.changed:
            place = changed.transport
            values = place.env if isinstance(place, StdioTransport) else place.headers
            log.info("group %s: now with %s", changed.name, {name: value.reveal() for name, value in values})
        right(self, new, changes)

    replace(right, wrong)


@mutant("SEC-001")
def quotes_a_configuration_that_it_cannot_read() -> None:
    right = parse

    def wrong(data: bytes, *more: Any) -> Any:
        try:
            return right(data, *more)
        except ConfigError as error:
            raise ConfigError(f"{error}: {data.decode(errors='replace')}") from None

    replace(right, wrong)


@mutant("STD-002", also={"SEC-026": "the variable has the headers of all servers too"})
def gives_every_child_the_configuration_in_a_variable() -> None:
    _on_reading(lambda data: os.environ.update(MCP_CONFIGURATION=data.decode(errors="replace")))


@mutant("SEC-026")
def copies_the_configuration_into_an_open_file() -> None:
    """In TMPDIR, with mode 0666."""

    def copy(data: bytes) -> None:
        file = Path(tempfile.gettempdir(), "configuration.json")
        file.write_bytes(data)
        file.chmod(0o666)

    _on_reading(copy)


def _on_reading(do: Callable[[bytes], object]) -> None:
    """Call ``do`` with each configuration that the proxy reads."""
    right = parse

    def wrong(data: bytes, *more: Any) -> Any:
        do(data)
        return right(data, *more)

    replace(right, wrong)


@mutant("SEC-023")
def tells_the_client_the_address_that_failed() -> None:
    """The text of a library error goes into the failure of the group."""
    right = HttpClient.request

    @asynccontextmanager
    async def wrong(self: HttpClient, *request: Any, **named: Any) -> AsyncIterator[HttpReply]:
        try:
            async with right(self, *request, **named) as reply:
                yield reply
        except UpstreamGone as error:
            raise UpstreamGone(f"{error} for url ({self.url})") from None

    replace(right, wrong)


@mutant("SEC-002", also=dict.fromkeys(("SEC-001", "SEC-023"), "the same reason is logged, with all headers"))
def tells_the_client_what_a_refusal_says() -> None:
    right = HttpClient.request

    @asynccontextmanager
    async def wrong(self: HttpClient, method: str, *request: Any, **named: Any) -> AsyncIterator[HttpReply]:
        async with right(self, method, *request, **named) as reply:
            if method == "POST" and reply.status >= 400 and reply.content_type != "application/json":
                words = (await whole_body(reply)).decode(errors="replace")
                raise HttpStatus(f"it answered with HTTP {reply.status}: {words}", status=reply.status)
            yield reply

    replace(right, wrong)


@mutant("SEC-002")
def hides_only_the_first_token_of_a_server() -> None:
    """The words of a refusal show the next ones."""
    right = HttpClient.refusal
    first: dict[HttpClient, str | None] = {}

    async def wrong(self: HttpClient, reply: HttpReply, *more: Any) -> HttpStatus:
        if reply.bearer is not None:
            reply.bearer = first.setdefault(self, reply.bearer)
        return await right(self, reply, *more)

    replace(right, wrong)


@mutant("SEC-002")
def gives_tokens_to_every_child() -> None:
    _on_loading(lambda tokens: os.environ.update(MCP_TOKEN=tokens.access_token))


@mutant("SEC-002")
def writes_tokens_on_a_command_line() -> None:
    nap = [sys.executable, "-c", "import time; time.sleep(60)"]
    _on_loading(lambda tokens: subprocess.Popen([*nap, f"Authorization: Bearer {tokens.access_token}"]))


def _on_loading(do: Callable[[Tokens], object]) -> None:
    right = FreshTokens.load
    loaded: set[FreshTokens] = set()

    async def wrong(self: FreshTokens) -> Tokens | None:
        tokens = await right(self)
        if tokens is not None and self not in loaded:
            loaded.add(self)
            do(tokens)
        return tokens

    replace(right, wrong)


@mutant("SEC-011", also={"SEC-003": "all servers of that check have one client id"})
def keeps_one_token_for_each_client_id() -> None:
    right, keep, bearer = FreshTokens.__init__, FreshTokens.keep, FreshTokens.bearer
    client_ids: dict[FreshTokens, str | None] = {}
    shared: dict[str | None, Tokens] = {}

    def remember(self: FreshTokens, name: str, transport: RemoteTransport, *more: Any) -> None:
        right(self, name, transport, *more)
        client_ids[self] = transport.oauth_client_id

    async def wrong_keep(self: FreshTokens, tokens: Tokens) -> None:
        await keep(self, tokens)
        shared[client_ids[self]] = tokens

    async def wrong_bearer(self: FreshTokens) -> str | None:
        tokens = shared.get(client_ids[self])
        return await bearer(self) if tokens is None else tokens.access_token

    replace(right, remember)
    replace(keep, wrong_keep)
    replace(bearer, wrong_bearer)


@mutant("SEC-011")
def keeps_one_set_of_headers_for_each_host() -> None:
    right = HttpClient.__init__
    shared: dict[str | None, Mapping[str, str]] = {}

    def wrong(
        self: HttpClient, url: str, headers: Mapping[str, str], credentials: Credentials, **named: Any
    ) -> None:
        right(self, url, shared.setdefault(urlsplit(url).hostname, headers), credentials, **named)

    replace(right, wrong)


@mutant("SEC-011")
def lets_the_client_choose_the_address() -> None:
    right = HttpClient.request

    def wrong(
        self: HttpClient,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        url: str | None = None,
        **named: Any,
    ) -> AbstractAsyncContextManager[HttpReply]:
        chosen = re.search(rb'"arguments":\s*\{"url":\s*"([^"]+)"', body or b"")
        return right(self, method, headers, body, url=chosen[1].decode() if chosen else url, **named)

    replace(right, wrong)


@mutant("SEC-011", also={"SEC-009": "that check looks for an added header"})
def lets_the_client_add_headers() -> None:
    right = HttpClient.request

    def wrong(
        self: HttpClient,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        **named: Any,
    ) -> AbstractAsyncContextManager[HttpReply]:
        more = {"X-Evil": "1"} if b"X-Evil" in (body or b"") else {}
        return right(self, method, {**headers, **more}, body, **named)

    replace(right, wrong)


@mutant("SEC-011")
def reads_a_web_address_at_its_origin() -> None:
    """It posts the request of a resource there, with the headers and the token of the server."""

    def wrong(request: ProxyRequest) -> None:
        uri = request.message["params"].get("uri", "") if request.rpc == "resources/read" else ""
        if uri.startswith("http"):
            request.url = uri

    change_requests(wrong)
