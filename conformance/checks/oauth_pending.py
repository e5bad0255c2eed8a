"""OAUTH: concurrent sign-ins, a sign-in that never ends, and a sign-in without a configured client."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_usable, must_sign_in
from conformance.checks.oauth_callback import attempt
from mock_servers.browser import User
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from conformance.workbench.browsers import Browser
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

PROMPT = 2.0


@check("OAUTH-027", timeout=30, slow=True)
async def a_pending_sign_in_blocks_nothing_else(workbench: Workbench) -> None:
    upstream, other = await workbench.oauth("a"), workbench.stdio("other")
    async with attempt(workbench, upstream, User("leaves"), other) as (proxy, browser):
        await browser.opened()
        with workbench.must("the other group becomes usable while the sign-in is pending"):
            await proxy.ready(other, within=5.0)
        over = time.monotonic() + 3.0  # a block may begin only after the page has opened
        while time.monotonic() < over:
            await proxy.request("ping", within=PROMPT)
            await proxy.request("tools/list", {}, within=PROMPT)
            result = await proxy.call("other", "echo", {"x": 1}, within=PROMPT)
            workbench.expect(not result.is_error, "a call to the other group succeeds", result.raw)
            with workbench.must("a listing of the other group within 2 s"):
                await proxy.tools_of("other", within=PROMPT)
            await anyio.sleep(0.1)


@check("OAUTH-028", timeout=60, slow=True)
async def concurrent_flows_do_not_mix(workbench: Workbench) -> None:
    """A proxy that never has both flows pending passes, with a note."""
    first, second = await workbench.oauth("first"), await workbench.oauth("second")
    browser = workbench.browser(User(wait=3.0), User())
    async with workbench.proxy(first, second) as proxy:
        await proxy.handshake()
        for upstream in (first, second):
            await proxy.wake(upstream.name)
        await browser.opened(2, within=15.0)
        await must_sign_in(workbench, proxy, first, second)
    order = [entry.data["number"] for entry in browser.callbacks]
    if order != [2, 1]:
        workbench.note(
            "the second page opened only after the first callback, so the flows were not concurrent"
        )
    for upstream in (first, second):
        refused = [asked for asked in upstream.token_requests if asked.problem is not None]
        workbench.expect(not refused, f"{upstream.name} refuses no token request", refused)
    await _must_keep_states_apart(workbench)


async def _must_keep_states_apart(workbench: Workbench) -> None:
    third, fourth = await workbench.oauth("third"), await workbench.oauth("fourth")
    browser = workbench.browser(User("leaves"))
    async with workbench.proxy(third, fourth) as proxy:
        await proxy.handshake()
        for upstream in (third, fourth):
            await proxy.wake(upstream.name)
        await browser.opened(2, within=15.0)
        one, two = browser.openings
        if one.redirect_uri == two.redirect_uri:
            states = [page.params.get("state") for page in (one, two)]
            workbench.expect(states[0] != states[1], "one listener, two states", states)
            return
        if "state" not in one.params:
            return  # Without a state, each listener takes the codes of one flow.
        await browser.ask(f"{two.redirect_uri}?code=crossed&state={one.params['state']}")

        def must_send_nothing_more() -> None:
            for upstream in (third, fourth):
                upstream.got_no_token_request()

        await workbench.holds_for(2.0, must_send_nothing_more)


@check("OAUTH-029", timeout=40, slow=True)
async def without_a_client_id_it_registers_or_says_so(workbench: Workbench) -> None:
    offered = await workbench.oauth("offered", OAuth(registration=True), oauth_client_id=None)
    refused = await workbench.oauth("refused", oauth_client_id=None)
    free, browser = workbench.stdio("free"), workbench.browser()
    async with workbench.proxy(offered, refused, free) as proxy:
        await proxy.handshake()
        await must_be_usable(workbench, proxy, free, what="a server without authorization works")
        await proxy.wake("offered")
        await proxy.wake("refused")
        await workbench.holds_for(5.0, lambda: None)
        if offered.registrations:
            _must_be_well_formed(workbench, offered)
            await must_sign_in(workbench, proxy, offered)
            clients = [page.params.get("client_id") for page in browser.pages_of(offered)]
            new = offered.registrations[-1].issued.get("client_id")
            workbench.expect(clients == [new], f"one page, with the client {new}", browser.openings)
        else:
            await _must_say_why(workbench, proxy, browser, offered)
        await _must_say_why(workbench, proxy, browser, refused)
    for upstream in (offered, refused):
        what = f"{upstream.name}: a bounded number of requests"
        workbench.expect(0 < len(upstream.http) <= 40, what, len(upstream.http))


def _must_be_well_formed(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    asked = upstream.registrations
    workbench.expect(len(asked) == 1 and asked[0].problem is None, "one registration, accepted", asked)
    document = asked[0].document
    wanted = {"application_type": "native", "token_endpoint_auth_method": "none"}
    for name, value in wanted.items():
        workbench.expect(document.get(name) == value, f"{name}: {value}", document)
    for uri in map(str, document.get("redirect_uris", [])):
        workbench.expect(_is_loopback(urlsplit(uri)), "redirect URIs on loopback", document)


def _is_loopback(uri: SplitResult) -> bool:
    return uri.scheme == "http" and uri.hostname in ("127.0.0.1", "::1", "localhost")


async def _must_say_why(
    workbench: Workbench, proxy: Proxy, browser: Browser, upstream: ProtectedMockUpstream
) -> None:
    pages = browser.pages_of(upstream)
    workbench.expect(not pages, f"no page for {upstream.name}", pages)
    upstream.got_no_token_request()
    answer = await proxy.call(upstream.name, "echo", within=15.0)
    says = re.search("auth|client.?id|sign.?in|log.?in|401", answer.text, re.IGNORECASE)
    workbench.expect(
        answer.is_error and says, f"{upstream.name} says that authorization is needed", answer.raw
    )
