"""OAUTH: what a sign-in asks for after a refusal, and for a refresh token, and the configured headers in a sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in
from conformance.checks.oauth_flow import flow_of
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import OAuthRequest


def _scopes(request: OAuthRequest) -> set[str]:
    return set(request.params.get("scope", "").split())


@check("OAUTH-076", timeout=60, slow=True)
async def a_refusal_without_a_scope_asks_once_for_the_listed_ones(workbench: Workbench) -> None:
    silent = {"tool_scopes": {"echo": "b"}, "names_missing_scope": False}
    listed = {"resource_fields": {"scopes_supported": ["a", "b"]}}
    enough = await workbench.oauth("enough", OAuth.from_dict({**silent, **listed}), oauth_scopes=["a"])
    never = await workbench.oauth(
        "never", OAuth.from_dict({**silent, **listed, "never_enough": True}), oauth_scopes=["a"]
    )
    browser = workbench.browser()
    async with workbench.proxy(enough, never) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(enough, never)
        with workbench.case("the metadata list what is missing"):
            await must_answer_a_call(workbench, proxy, enough)
            pages = enough.authorizations
            workbench.expect(len(pages) == 2, "one more sign-in", pages)
            workbench.expect({"a", "b"} <= _scopes(pages[1]), "it asks for both scopes", pages[1])
        with workbench.case("a server that is never satisfied"):
            for _ in range(4):
                result = await proxy.call("never", "echo", {"x": 1}, within=20.0)
                workbench.expect(result.is_error and result.text, "the call says why it failed", result.raw)
            opened = browser.pages_of(never)
            workbench.expect(len(opened) <= 2, "at most one more page for four calls", opened)


@check("OAUTH-077", timeout=40, slow=True)
async def a_client_registers_anew_for_more_scopes(workbench: Workbench) -> None:
    script = {
        "registration": True,
        "registered_scopes_only": True,
        "tool_scopes": {"echo": "write"},
        "resource_fields": {"scopes_supported": ["read"]},
    }
    upstream = await workbench.oauth("a", OAuth.from_dict(script), oauth_client_id=None)
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(upstream)
        await must_answer_a_call(workbench, proxy, upstream)
    asked = upstream.authorizations
    workbench.expect(len(asked) == 2, "one step-up", asked)
    workbench.expect("write" in _scopes(asked[1]), "it asks for the missing scope", asked[1])


_OFFERS = ["openid", "read", "offline_access"]


@check("OAUTH-078", timeout=60, slow=True)
async def offline_access_is_asked_for_where_it_is_offered(workbench: Workbench) -> None:
    resource = {"resource_fields": {"scopes_supported": ["read"]}}

    async def upstream(name: str, offered: list[str], *, registers: bool, **more: Any) -> Any:
        script = {
            **resource,
            "server_fields": {"scopes_supported": offered},
            "registration": registers,
            **more,
        }
        fields: dict[str, Any] = {"oauth_client_id": None} if registers else {}
        return await workbench.oauth(name, OAuth.from_dict(script), **fields)

    steps_up = {"tool_scopes": {"echo": "write"}}
    plain = await upstream("plain", _OFFERS[1:], registers=True, offline="scope", **steps_up)
    openid = await upstream("openid", _OFFERS, registers=True, offline="consent")
    without = await upstream("without", ["openid", "read"], registers=True)
    upstreams: list[ProtectedMockUpstream] = [plain, openid, without]
    if not workbench.sut.profile.registers:
        upstreams.append(await upstream("known", _OFFERS, registers=False, offline="scope"))
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams)
        _must_ask_where_it_is_offered(workbench, upstreams)
        # Whether a proxy signs in again is another requirement (OAUTH-026).
        await proxy.call(plain.name, "echo", {"x": 1}, within=20.0)
    for authorized in plain.authorizations:
        workbench.expect("offline_access" in _scopes(authorized), "offline_access in a step-up", authorized)


def _must_ask_where_it_is_offered(workbench: Workbench, upstreams: list[ProtectedMockUpstream]) -> None:
    for each in upstreams:
        with workbench.case(each.name):
            authorized, exchanged = flow_of(workbench, each)
            prompt = authorized.params.get("prompt")
            if each.name == "without":
                workbench.expect("offline_access" not in _scopes(authorized), "no offline_access", authorized)
            else:
                workbench.expect(_scopes(authorized) == {"read", "offline_access"}, "both scopes", authorized)
                workbench.expect("refresh_token" in exchanged.issued, "a refresh token", exchanged.issued)
            if each.name != "openid":
                workbench.expect(prompt is None, "no prompt", authorized)


_KEY = {"X-Gateway-Id": "id-of-the-gateway", "X-Gateway-Key": "key-of-the-gateway"}


@check("OAUTH-079", timeout=40, slow=True)
async def own_headers_reach_the_own_origin_only(workbench: Workbench) -> None:
    same = await workbench.oauth("same", OAuth(gateway=_KEY), headers=_KEY)
    apart = await workbench.oauth("apart", OAuth(gateway=_KEY, own_origin=True), headers=_KEY)
    workbench.browser()
    async with workbench.proxy(same, apart) as proxy:
        await proxy.handshake()
        for upstream in (same, apart):
            with workbench.case(upstream.name):
                await must_sign_in(workbench, proxy, upstream)
    own = urlsplit(apart.url).netloc
    others = [request for request in apart.http if request.header("Host") != own]
    for request in workbench.some(others, "a request to the authorization server"):
        sent = [name for name in _KEY if request.header(name) is not None]
        workbench.expect(not sent, "no configured header goes to another origin", request)
