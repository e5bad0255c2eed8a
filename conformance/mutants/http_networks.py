"""Mistakes with lost sessions, cookies, redirects, proxies of the environment, and replies with odd types and reasons."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp import http_proxy
from dynamic_mcp.errors import UpstreamRefused
from dynamic_mcp.groups import state
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Kind
from dynamic_mcp.protocol import era
from dynamic_mcp.upstream.http import json_body, redirects, refusals
from dynamic_mcp.upstream.http.cookies import Cookies
from dynamic_mcp.upstream.http.reply import HttpReply
from dynamic_mcp.upstream.http.tries import Tries

if TYPE_CHECKING:
    from dynamic_mcp.protocol.pending import Options
    from dynamic_mcp.protocol.pieces import Line


@mutant("HTTP-050", also={"SSE-016": "one of its servers says it by 400"})
def knows_only_404() -> None:
    """MCP has no other form."""
    replace(refusals.is_session_lost, lambda status, text, challenge="": status == 404)


@mutant("HTTP-050")
def believes_in_status_200() -> None:
    """The error of a lost session goes to the client."""
    replace(refusals.is_session_lost_error, lambda error: False)


@mutant("HTTP-073")
def takes_the_words_of_a_tool_for_the_end_of_the_session() -> None:
    """The proxy behaved like this before version 1.3 of the requirements."""

    async def wrong(self: Tries, id: int, reply: HttpReply) -> bool:
        return await reply.is_session_lost()

    replace(Tries.refusal_says_lost, wrong)


@mutant("HTTP-073")
def repeats_a_call_after_any_mismatch() -> None:
    right = Group.request

    async def wrong(self: Group, method: str, params: bytes, options: Options, kind: Kind = TOOLS) -> bytes:
        try:
            return await right(self, method, params, options, kind)
        except UpstreamRefused as refusal:
            if refusal.code != era.HEADER_MISMATCH:
                raise
            return await right(self, method, params, options, kind)

    replace(right, wrong)


@mutant("HTTP-051")
def forgets_cookies() -> None:
    replace(Cookies.take, lambda self, lines, url: None)


@mutant("HTTP-051")
def quotes_the_values_of_cookies() -> None:
    """As the cookie jar of the standard library does."""
    right = Cookies.header

    def wrong(self: Cookies, url: str) -> str | None:
        pairs = (right(self, url) or "").split("; ")
        quoted = [f'{name}="{value}"' for name, _, value in (pair.partition("=") for pair in pairs) if value]
        return "; ".join(quoted) or None

    replace(right, wrong)


@mutant("HTTP-051")
def shares_its_cookies_among_servers() -> None:
    """Ports do not matter to a browser either."""
    shared = Cookies(None)
    take, header = Cookies.take, Cookies.header
    replace(take, lambda self, lines, url: take(shared, lines, url))
    replace(header, lambda self, url: header(shared, url))


@mutant("HTTP-052")
def follows_no_redirect() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    replace(redirects.target_of, lambda url, status, location: None)


@mutant("HTTP-053")
def does_not_name_the_other_origin() -> None:
    replace(
        redirects.explain, lambda url, status, location: f"it redirects to another address (HTTP {status})"
    )


@mutant("HTTP-054")
def asks_the_proxy_for_its_own_machine() -> None:
    # Private: no public name separates loopback from the exceptions.
    replace(http_proxy._is_this_machine, lambda host: False)


@mutant("HTTP-055")
def needs_the_scheme_of_a_proxy() -> None:
    right = http_proxy.proxy_for

    def wrong(url: str) -> str | None:
        configured = urllib.request.getproxies_environment().values()
        return right(url) if any("://" in proxy for proxy in configured) else None

    replace(right, wrong)


@mutant("HTTP-055")
def knows_no_networks() -> None:
    # Private: the entries are no public name.
    replace(http_proxy._network, lambda text: None)


@mutant("HTTP-056", also={"FRONT-133": "JSON under the type of a page is not taken either"})
def insists_on_application_json() -> None:
    right = json_body.json_body

    async def wrong(reply: HttpReply, max_size: int) -> Line:
        return await right(reply, max_size) if reply.content_type == "application/json" else b""

    replace(right, wrong)


@mutant("HTTP-056", also={"HTTP-040": "one of its answers has such a mark"})
def stumbles_over_a_byte_order_mark() -> None:
    right = json_body.json_body

    async def wrong(reply: HttpReply, max_size: int) -> Line:
        first = (await reply.beginning_of_body())[:1]
        return b"{" if first == "\ufeff" else await right(reply, max_size)

    replace(right, wrong)


@mutant("HTTP-057")
def keeps_the_reason_for_itself() -> None:
    replace(refusals.reason_in, lambda text, content_type: "")


@mutant("HTTP-057")
def shows_what_the_server_repeats() -> None:
    """The reason contains the configured headers."""
    from dynamic_mcp.hiding import HiddenValues

    replace(HiddenValues.hide, lambda self, text, whole=True: text)


@mutant("HTTP-057")
def shows_the_whole_body() -> None:
    refusals.MAX_SHOWN = refusals.MAX_READ = 1 << 30
    from dynamic_mcp.hiding import HiddenValues

    right = HiddenValues.hide
    replace(HiddenValues.end_of, lambda self, text, whole=True: right(self, text))


@mutant("OPS-045")
def repeats_an_old_failure() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    state.MIN_AGE = 3600.0
