"""Mistakes that let secrets out: into the log, to the client, to other processes and to other servers."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec

from conformance.mutants import mutant, replace, wire_http
from conformance.mutants.wire_oauth import around_callbacks, change_forms
from dynamic_mcp.config.load import parse
from dynamic_mcp.errors import ConfigError, HttpStatus, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.oauth.fresh_tokens import FreshTokens
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.stdio import StdioConnector

if TYPE_CHECKING:
    from asyncio import StreamWriter
    from collections.abc import AsyncIterator, Mapping

    from conformance.mutants.wire_http import Request, Send
    from conformance.mutants.wire_oauth import Form
    from dynamic_mcp.config.model import StdioTransport
    from dynamic_mcp.oauth.callback import Callback
    from dynamic_mcp.oauth.tokens import Tokens
    from dynamic_mcp.upstream.http.client import HttpReply


@mutant("SEC-001")
def logs_new_tokens() -> None:
    right = FreshTokens.keep

    async def wrong(self: FreshTokens, tokens: Tokens) -> None:
        log.debug("new tokens: %s", msgspec.json.encode(tokens).decode())
        await right(self, tokens)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_form_of_a_token_request() -> None:
    def wrong(form: Form) -> Form:
        log.debug("a token request: %s", urlencode({"code": form.get("code", "")}))
        return form

    change_forms("authorization_code", wrong)


@mutant("SEC-001")
def logs_the_verifier() -> None:
    def wrong(form: Form) -> Form:
        log.debug("the proof: %s", form.get("code_verifier"))
        return form

    change_forms("authorization_code", wrong)


@mutant("SEC-001")
def logs_the_callback() -> None:
    async def wrong(callback: Callback, head: bytes, writer: StreamWriter) -> tuple[bytes, StreamWriter]:
        log.info("the browser came back: %s", head.partition(b"\r\n")[0].decode())
        return head, writer

    around_callbacks(wrong)


@mutant("SEC-001")
def logs_headers_in_base64() -> None:
    right = HttpClient.__init__

    def wrong(self: HttpClient, url: str, headers: Mapping[str, str], *more: Any, **named: Any) -> None:
        log.debug("headers: %s", base64.b64encode(repr(headers).encode()).decode())
        right(self, url, headers, *more, **named)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_environment_of_children() -> None:
    right = StdioConnector.__init__

    def wrong(self: StdioConnector, transport: StdioTransport, *more: Any) -> None:
        log.debug("a child gets %s", {name: value.reveal() for name, value in transport.env})
        right(self, transport, *more)

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


@mutant("SEC-002")
def tells_the_client_the_address_that_failed() -> None:
    async def wrong(request: Request, send: Send) -> AsyncIterator[HttpReply]:
        try:
            async with send(request) as reply:
                yield reply
        except UpstreamGone as error:
            raise UpstreamGone(f"{error} for url ({request.url})") from None

    wire_http.around_requests(wrong)


@mutant("SEC-002", also={"SEC-001": "the same reason is logged"})
def tells_the_client_what_a_refusal_says() -> None:
    async def wrong(request: Request, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            if request.is_call and reply.status >= 400 and reply.content_type != "application/json":
                text = (await reply.body(1 << 20)).decode(errors="replace")
                raise HttpStatus(f"it answered with HTTP {reply.status}: {text}", status=reply.status)
            yield reply

    wire_http.around_requests(wrong)


@mutant("SEC-002")
def gives_tokens_to_every_child() -> None:
    _on_loading(lambda tokens: os.environ.update(MCP_TOKEN=tokens.access_token))


@mutant("SEC-002")
def writes_tokens_on_a_command_line() -> None:
    nap = [sys.executable, "-c", "import time; time.sleep(60)"]
    _on_loading(lambda tokens: subprocess.Popen([*nap, f"Authorization: Bearer {tokens.access_token}"]))


def _on_loading(do: Any) -> None:
    right = FileStore.load
    loaded: list[FileStore] = []

    def wrong(self: FileStore) -> Tokens | None:
        tokens = right(self)
        if tokens is not None and self not in loaded:
            loaded.append(self)
            do(tokens)
        return tokens

    replace(right, wrong)


@mutant("SEC-011", also={"SEC-003": "all of its servers have one client id"})
def keeps_one_token_for_each_client_id() -> None:
    shared: dict[str | None, Tokens] = {}
    ids: dict[FreshTokens, str | None] = {}
    create, keep, right = FreshTokens.__init__, FreshTokens.keep, FreshTokens.bearer

    def remember(self: FreshTokens, server: str, url: str, client_id: str | None, *more: Any) -> None:
        ids[self] = client_id
        create(self, server, url, client_id, *more)

    async def share(self: FreshTokens, tokens: Tokens) -> None:
        await keep(self, tokens)
        shared[ids[self]] = tokens

    async def wrong(self: FreshTokens) -> str | None:
        bearer = await right(self)
        return shared[ids[self]].access_token if ids[self] in shared else bearer

    replace(create, remember)
    replace(keep, share)
    replace(right, wrong)


@mutant("SEC-011")
def keeps_one_set_of_headers_for_each_host() -> None:
    shared: defaultdict[str | None, dict[str, str]] = defaultdict(dict)
    right = HttpClient.__init__

    def remember(self: HttpClient, url: str, headers: Mapping[str, str], *more: Any, **named: Any) -> None:
        shared[urlsplit(url).hostname].update(headers)
        right(self, url, headers, *more, **named)

    replace(right, remember)
    wire_http.change_requests(lambda request: request.headers.update(shared[urlsplit(request.url).hostname]))


@mutant("SEC-011")
def lets_the_client_choose_the_address() -> None:
    async def wrong(request: Request, send: Send) -> AsyncIterator[HttpReply]:
        chosen = re.search(rb'"arguments":\s*\{"url":\s*"([^"]+)"', request.body or b"")
        if chosen is not None:
            request.url = chosen[1].decode()
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("SEC-011", also={"SEC-009": "a header that is added is what is looked for"})
def lets_the_client_add_headers() -> None:
    async def wrong(request: Request, send: Send) -> AsyncIterator[HttpReply]:
        if b"X-Evil" in (request.body or b""):
            request.headers["X-Evil"] = "1"
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)
