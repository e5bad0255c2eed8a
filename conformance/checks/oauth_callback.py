"""OAUTH: the way back from the browser.

A proxy that never serves a callback would pass every check of a bad one. So each check also has a right
callback, at another listener or after the bad one, and it has to bring a token.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import psutil

from conformance.checks import check
from conformance.checks.common import must_be_usable, must_sign_in, sign_in
from conformance.errors import NotApplicable
from mock_servers.browser import User
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from conformance.workbench.browsers import Browser
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal import Entry


@asynccontextmanager
async def attempt(
    workbench: Workbench, upstream: ProtectedMockUpstream, user: User, *others: MockUpstream, **start: Any
) -> AsyncIterator[tuple[Proxy, Browser]]:
    """Start a proxy and ask it for the tools of the upstream. The user decides what happens next."""
    browser = workbench.browser(user)
    env = {**browser.environment, **start.pop("env", {})}
    async with workbench.proxy(upstream, *others, env=env, **start) as proxy:
        await proxy.handshake()
        await proxy.wake(upstream.name)
        yield proxy, browser


def refused_or_ignored(entry: Entry) -> bool:
    """Whether the callback listener answered a visit with 4xx, or not at all."""
    status = entry.data["status"]
    return status is None or 400 <= status < 500


@check("OAUTH-011", timeout=60, slow=True)
async def a_callback_with_a_wrong_state_is_rejected(workbench: Workbench) -> None:
    right = await workbench.oauth("right")
    with workbench.precondition("the proxy accepts a callback with the right state"):
        browser = workbench.browser()
        await sign_in(workbench, right)
    if "state" not in browser.openings[0].params:
        raise NotApplicable("its authorization request has no state, because PKCE protects the flow too")
    forms: dict[str, str | list[str] | None] = {
        "missing": None,
        "different": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "truncated": "$short.state",
        "swapped": "$swap.state",
    }
    if workbench.promises("single-state"):
        forms["twice"] = ["$state", "$state"]

    async def must_be_rejected(name: str, state: str | list[str] | None) -> None:
        upstream = await workbench.oauth(name)
        async with attempt(workbench, upstream, User(callbacks=[{"state": state}])) as (_, browser):
            await browser.done()
            await workbench.holds_for(3.0, upstream.got_no_token_request)

    await workbench.run_cases(*(partial(must_be_rejected, name, state) for name, state in forms.items()))


@check("OAUTH-012", timeout=30)
async def stray_requests_do_not_end_the_flow(workbench: Workbench) -> None:
    upstream, other = await workbench.oauth("a"), workbench.stdio("other")
    user = User(
        strays=["GET /favicon.ico", "GET /wrong?code=x&state=y", "HEAD $callback", "connect"],
        callbacks=[{"state": "bad"}, {}],
    )
    async with attempt(workbench, upstream, user, other) as (proxy, browser):
        await proxy.ready(other)
        await browser.done(within=25.0)
        await must_sign_in(workbench, proxy, upstream)
    odd = [
        entry for entry in [*browser.events("stray"), browser.callbacks[0]] if not refused_or_ignored(entry)
    ]
    workbench.expect(not odd, "4xx or no answer", [entry.data for entry in odd])


@check("OAUTH-013", timeout=80, slow=True)
async def the_callback_listener_is_on_loopback_only(workbench: Workbench) -> None:
    upstreams = [await workbench.oauth("a"), await workbench.oauth("b")]
    ports = []
    for upstream in upstreams:
        async with attempt(workbench, upstream, User(wait=60.0)) as (proxy, browser):
            page = await browser.opened()
            ports.append(urlsplit(page.redirect_uri).port)
            listening = _listening(proxy)
            workbench.expect(
                ports[-1] in [port for _, port in listening],
                f"{upstream.name}: a listener at the port",
                listening,
            )
            open_to_all = [place for place in listening if not ip_address(place[0]).is_loopback]
            workbench.expect(not open_to_all, f"{upstream.name}: listeners on loopback only", listening)
        async with attempt(workbench, upstream, User(wait=60.0, probes=True)) as (_, browser):
            await browser.opened()
            await workbench.eventually(
                partial(_reached, browser),
                within=5.0,
                what="the browser reaches the listener at an address of the redirect URI's host",
            )
    if workbench.promises("random-callback-port"):
        workbench.expect(len(set(ports)) == len(ports), "a port of its own for each sign-in", ports)
    with workbench.precondition("the listener serves a callback"):
        workbench.browser()
        await sign_in(workbench, upstreams[0])


def _listening(proxy: Proxy) -> list[tuple[str, int]]:
    """Addresses and ports that the proxy listens on."""
    found = []
    for process in proxy.processes.alive():
        try:
            connections = psutil.Process(process.pid).net_connections(kind="inet")
        except psutil.Error:
            continue  # the program that opened the browser has exited
        found += [one.laddr for one in connections if one.status == psutil.CONN_LISTEN]
    return [(address.ip, address.port) for address in found if address.port != proxy.port]


def _reached(browser: Browser) -> list[Entry]:
    """The addresses at which the browser reached the host of the redirect URI."""
    return [entry for entry in browser.events("reachable") if entry.data["problem"] is None]


@check("OAUTH-020", timeout=30)
async def an_error_callback_ends_this_flow_only(workbench: Workbench) -> None:
    upstream, other = await workbench.oauth("a"), workbench.stdio("other")
    async with attempt(workbench, upstream, User("denies"), other) as (proxy, browser):
        await browser.done()
        text, deadline = "", time.monotonic() + 5.0
        while "access_denied" not in text and time.monotonic() < deadline:
            text = await proxy.failure_of("a") or ""
            await anyio.sleep(0.1)
        workbench.expect("access_denied" in text, "access_denied in the failure text within 5 s", text)
        statuses = [entry.data["status"] for entry in browser.callbacks]
        workbench.expect(statuses and None not in statuses, "the browser gets an answer", statuses)
        upstream.got_no_token_request()
        await must_be_usable(workbench, proxy, other, what="the other group works")


@check("OAUTH-021", timeout=60, slow=True)
async def iss_in_the_authorization_response_is_validated(workbench: Workbench) -> None:
    announced = {"authorization_response_iss_parameter_supported": True}
    good = {
        "announced-right": OAuth(iss="$issuer", server_fields=announced),
        "silent-right": OAuth(iss="$issuer"),
        "silent-absent": OAuth(),
    }
    bad = {
        "announced-absent": OAuth(server_fields=announced),
        "announced-slash": OAuth(iss="$issuer/", server_fields=announced),
        "announced-capitals": OAuth(iss="$ISSUER", server_fields=announced),
        "silent-slash": OAuth(iss="$issuer/"),
        "silent-foreign": OAuth(iss="https://honest.example"),
        "foreign-error": OAuth(iss="https://honest.example", error="canary_of_another"),
    }
    right = [await workbench.oauth(name, oauth) for name, oauth in good.items()]
    wrong = [await workbench.oauth(name, oauth) for name, oauth in bad.items()]
    browser = workbench.browser()
    async with workbench.proxy(*right, *wrong) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *right)
        for upstream in wrong:
            await proxy.wake(upstream.name)
        with workbench.precondition("every flow gets its callback"):
            await browser.done(len(right) + len(wrong))

        def must_send_nothing_more() -> None:
            for upstream in wrong:
                upstream.got_no_token_request()

        await workbench.holds_for(3.0, must_send_nothing_more)
        answer = await proxy.call("foreign-error", "echo", within=10.0)
        workbench.expect(
            "canary_of_another" not in answer.raw, "no error text of a response with a wrong iss", answer.raw
        )


@check("OAUTH-022", timeout=60, slow=True)
async def the_users_time_is_not_the_connection_timeout(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a")
    async with attempt(workbench, upstream, User(wait=20.0)) as (proxy, browser):
        await browser.done(within=30.0)
        await must_sign_in(workbench, proxy, upstream)
        workbench.expect(len(browser.openings) == 1, "the proxy opens one page", browser.openings)


@check("OAUTH-023", timeout=60, slow=True)
async def without_a_browser_the_url_is_printed_on_stderr(workbench: Workbench) -> None:
    failing, missing = await workbench.oauth("failing"), await workbench.oauth("missing")
    await _by_hand(workbench, failing, workbench.browser(works=False), {})
    tools = workbench.sandbox.tmp / "tools"
    tools.mkdir()
    for name in ("env", "sh", "node", "python3"):
        program = shutil.which(name, path=os.environ.get("PATH", os.defpath))
        if program is not None:
            (tools / name).symlink_to(program)
    nowhere = {"PATH": str(tools), "BROWSER": "", "DISPLAY": ""}
    await _by_hand(workbench, missing, workbench.browser(), nowhere)


async def _by_hand(
    workbench: Workbench, upstream: ProtectedMockUpstream, browser: Browser, env: dict[str, str]
) -> None:
    async with workbench.proxy(upstream, env={**browser.environment, **env}) as proxy:
        await proxy.handshake()
        await proxy.wake(upstream.name)
        begin = re.escape(f"{upstream.issuer}/authorize?")
        urls: list[str] = await workbench.eventually(
            lambda: re.findall(rf"{begin}[^\s\"'<>\x1b]+", proxy.stderr),
            within=10.0,
            what=f"{upstream.name}: the authorization URL on stderr",
        )
        browser.open(urls[0])
        await must_sign_in(workbench, proxy, upstream)
        workbench.expect(not proxy.junk, "only messages on stdout", proxy.junk)
