"""Mistakes that let secrets out: into the log, to the client, to other processes and to other servers."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.config.load import parse
from dynamic_mcp.errors import ConfigError, HttpStatus, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.oauth import token_endpoint
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.callback import Callback
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.detect import Remote
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynamic_mcp.oauth.tokens import Tokens
    from dynamic_mcp.upstream.http.client import HttpReply


@mutant("SEC-001")
def logs_new_tokens() -> None:
    right = Authorization._keep

    async def wrong(self: Authorization, tokens: Tokens) -> None:
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
    right = Callback._judge

    def wrong(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        log.info("the browser came back: %s", target)
        return right(self, method, target)

    replace(right, wrong)


@mutant("SEC-001")
def logs_headers_in_base64() -> None:
    right = HttpClient._send

    async def wrong(self: HttpClient, *arguments: Any) -> Any:
        log.debug("headers: %s", base64.b64encode(repr(self._headers).encode()).decode())
        return await right(self, *arguments)

    replace(right, wrong)


@mutant("SEC-001")
def logs_the_environment_of_children() -> None:
    right = StdioUpstream.open

    async def wrong(self: StdioUpstream, *arguments: Any, **more: Any) -> None:
        log.debug("a child gets %s", {name: value.reveal() for name, value in self._transport.env})
        await right(self, *arguments, **more)

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
    right = HttpClient._send

    async def wrong(self: HttpClient, *arguments: Any) -> Any:
        try:
            return await right(self, *arguments)
        except UpstreamGone as error:
            raise UpstreamGone(f"{error} for url ({self.url})") from None

    replace(right, wrong)


@mutant("SEC-002", also={"SEC-001": "the same reason is logged"})
def tells_the_client_what_a_refusal_says() -> None:
    right = StreamableHttpUpstream._take_whole

    async def wrong(self: StreamableHttpUpstream, id: int, reply: HttpReply, session: str | None) -> None:
        if reply.status >= 400 and reply.content_type != "application/json":
            words = (await reply.body(1 << 20)).decode(errors="replace")
            raise HttpStatus(f"it answered with HTTP {reply.status}: {words}", status=reply.status)
        await right(self, id, reply, session)

    replace(right, wrong)


@mutant("SEC-002")
def gives_tokens_to_every_child() -> None:
    _on_loading(lambda tokens: os.environ.update(MCP_TOKEN=tokens.access_token))


@mutant("SEC-002")
def writes_tokens_on_a_command_line() -> None:
    nap = [sys.executable, "-c", "import time; time.sleep(60)"]
    _on_loading(lambda tokens: subprocess.Popen([*nap, f"Authorization: Bearer {tokens.access_token}"]))


def _on_loading(do: Any) -> None:
    right = Authorization._load

    async def wrong(self: Authorization) -> Tokens | None:
        was_loaded = self._loaded
        tokens = await right(self)
        if tokens is not None and not was_loaded:
            do(tokens)
        return tokens

    replace(right, wrong)


@mutant("SEC-011", also={"SEC-003": "all of its servers have one client id"})
def keeps_one_token_for_each_client_id() -> None:
    shared: dict[str | None, Tokens] = {}
    keep, right = Authorization._keep, Authorization._load

    async def wrong_keep(self: Authorization, tokens: Tokens) -> None:
        await keep(self, tokens)
        shared[self._client_id] = tokens

    async def wrong_load(self: Authorization) -> Tokens | None:
        self._tokens = shared.get(self._client_id) or await right(self)
        return self._tokens

    replace(keep, wrong_keep)
    replace(right, wrong_load)


@mutant("SEC-011")
def keeps_one_set_of_headers_for_each_host() -> None:
    shared: dict[str | None, dict[str, str]] = {}
    right = Remote._web

    def wrong(self: Remote) -> HttpClient:
        web = right(self)
        headers = shared.setdefault(urlsplit(web.url).hostname, {})
        headers.update(web._headers)
        web._headers = headers
        return web

    replace(right, wrong)


@mutant("SEC-011")
def lets_the_client_choose_the_address() -> None:
    right = HttpClient._send

    async def wrong(
        self: HttpClient,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        url: str,
        bearer: str | None,
    ) -> Any:
        chosen = re.search(rb'"arguments":\s*\{"url":\s*"([^"]+)"', body or b"")
        return await right(self, method, headers, body, chosen[1].decode() if chosen else url, bearer)

    replace(right, wrong)


@mutant("SEC-011", also={"SEC-009": "a header that is added is what is looked for"})
def lets_the_client_add_headers() -> None:
    right = HttpClient._send

    async def wrong(
        self: HttpClient,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        url: str,
        bearer: str | None,
    ) -> Any:
        more = {"X-Evil": "1"} if b"X-Evil" in (body or b"") else {}
        return await right(self, method, {**headers, **more}, body, url, bearer)

    replace(right, wrong)
