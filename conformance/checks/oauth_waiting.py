"""OAUTH: sign-ins that several proxies wait for, that no client wants yet, or that a call meets."""

from __future__ import annotations

import re
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_usable, must_sign_in
from conformance.checks.revocations import rule_of_revocation
from mock_servers.browser import User
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.script import Script

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: Seconds until all proxies use what the user did at the page of one.
SOON = 10.0


async def _started(workbench: Workbench, stack: AsyncExitStack, upstream: ProtectedMockUpstream) -> Proxy:
    """A proxy whose client wants the group."""
    proxy = await stack.enter_async_context(workbench.proxy(upstream))
    await proxy.handshake()
    await proxy.wake(upstream.name)
    return proxy


def page_of(upstream: ProtectedMockUpstream, text: str) -> str | None:
    """The address of the page of a sign-in in a text."""
    found = re.search(rf"{re.escape(upstream.issuer)}/authorize\?[^\s\"'<>`)\]\\]+", text)
    return None if found is None else found[0].rstrip(".,;")


@check("OAUTH-060", timeout=60, slow=True)
async def proxies_that_wait_need_one_sign_in(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(registration=True), oauth_client_id=None)
    browser = workbench.browser(User(wait=3.0), User("leaves"))
    async with AsyncExitStack() as stack:
        proxies = [await _started(workbench, stack, upstream) for _ in range(3)]
        with workbench.precondition("the user signs in at the first page"):
            await browser.done()
        over = time.monotonic() + SOON
        for number, proxy in enumerate(proxies, 1):
            with workbench.must(f"proxy {number} is usable within {SOON:g} s of the sign-in"):
                await proxy.ready(upstream, within=max(over - time.monotonic(), 0.5))
            await must_be_usable(workbench, proxy, upstream, what=f"a call of proxy {number} succeeds")
    workbench.one(browser.openings, "one page")
    workbench.one(upstream.authorizations, "one authorization request")
    workbench.one(upstream.registrations, "one registration")


@check("OAUTH-061", timeout=60, slow=True)
async def another_proxy_takes_over_the_sign_in(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a")
    browser = workbench.browser(User("leaves"), User())
    async with AsyncExitStack() as stack:
        first = await _started(workbench, stack, upstream)
        with workbench.precondition("the first proxy opens a page"):
            await browser.opened()
        second = await _started(workbench, stack, upstream)
        # Its answer shows that the second proxy has met the sign-in of the first. Some designs let a call wait for the user.
        with anyio.move_on_after(SOON):
            await second.tools_of(upstream.name, within=SOON + 5.0)
        first.signal(signal.SIGKILL)
        await first.wait_exit()
        with workbench.must(f"the other proxy is usable within {SOON:g} s"):
            await second.ready(upstream, within=SOON)
        await must_be_usable(workbench, second, upstream, what="a call succeeds")


@check("OAUTH-062", timeout=40, slow=True)
async def an_unused_server_opens_no_page(workbench: Workbench) -> None:
    refuses = OAuth(
        faults=[Fault("token", grant="refresh_token", status=400, body={"error": "invalid_grant"})]
    )
    signed_out = await workbench.oauth("signed-out", refuses, Script(on=[rule_of_revocation()]))
    workbench.browser()
    async with workbench.proxy(signed_out) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(signed_out)
        await proxy.call(signed_out.name, "add", {"a": 1, "b": 2})
    protected = [await workbench.oauth(name) for name in "abcd"]
    open_to_all, browser = workbench.stdio("open"), workbench.browser()
    later = 1 if workbench.reloads else 0
    config = workbench.config(*protected[later:], signed_out, open_to_all)
    async with workbench.proxy(config=config) as proxy:
        await proxy.handshake()
        if later:
            workbench.save(config, *protected, signed_out, open_to_all)
        for method in ("tools/list", "resources/list", "prompts/list"):
            await proxy.request(method, {})
        await must_be_usable(workbench, proxy, open_to_all, what="a server without authorization works")
        await workbench.holds_for(3.0, browser.must_not_have_opened)
        used = protected[2]
        await must_sign_in(workbench, proxy, used)
        await must_be_usable(workbench, proxy, used, what="the group that the client uses works")
        workbench.one(browser.openings, "one page")
        workbench.one(browser.pages_of(used), "the page of this server")


@check("OAUTH-063", timeout=40, slow=True)
async def a_call_that_meets_a_sign_in_says_so(workbench: Workbench) -> None:
    protected = OAuth(
        open_methods=["initialize", "notifications/initialized", "server/discover", "tools/list"]
    )
    upstream = await workbench.oauth("a", protected, timeout={"tools": "2s"})
    browser = workbench.browser(User("leaves"), User())
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        browser.must_not_have_opened()
        answer = await proxy.call("a", "echo", within=12.0)
        page = page_of(upstream, answer.text)
        workbench.expect(answer.is_error and page, "an error with the address of the page", answer.raw)
        assert page is not None
        browser.open(page)
        await browser.done()
        await must_be_usable(workbench, proxy, upstream, what="a call succeeds after the sign-in")
    workbench.one(upstream.exchanges, "one sign-in")
