"""SEC: what a server's name, metadata and callback may do to the machine and to its user."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import psutil

from conformance.checks import check
from conformance.checks.common import must_sign_in, sign_in
from conformance.checks.oauth_callback import attempt
from conformance.checks.token_files import token_folder
from conformance.errors import Untestable, Violation
from conformance.workbench.leak_scan import leaked
from mock_servers.browser import User
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from typing import Any

    from conformance.workbench.browsers import Browser
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

PLANTED = "planted-token"
TAG = "<script>X</script>"


@check("SEC-003", timeout=90, slow=True)
async def server_names_cannot_escape_the_token_store(workbench: Workbench) -> None:
    """A second set of similar names must leave the files of the first set unchanged."""
    home, tmp = workbench.sandbox.home, workbench.sandbox.tmp
    planted = {"access_token": PLANTED, "refresh_token": PLANTED, "expires_at": "2099-01-01T00:00:00Z"}
    for place in (home / "evil.json", tmp / "evil.json"):
        place.write_text(json.dumps(planted))
    long = "n" * 299
    sets = [
        ["plain", "../../evil", str(tmp / "evil"), "a/b", "..", "A", f"{long}1", "nul\0"],
        ["plain2", "a_b", "a", f"{long}2"],
    ]
    before = _outside_of_the_store(workbench)
    workbench.browser()
    mine: list[str] = []
    for names in sets:
        upstreams = await _protected(workbench, names)
        kept = _store(workbench)
        for group in await _accepted(workbench, upstreams):
            async with workbench.proxy(*group) as proxy:
                await proxy.handshake()
                steps = (partial(_try_to_sign_in, workbench, proxy, one) for one in group)
                await workbench.run_cases(*steps)
        for upstream in upstreams:
            with workbench.case(repr(upstream.name[:30])):
                foreign = [token for token in upstream.bearers if token not in upstream.access_tokens]
                workbench.expect(
                    not foreign, "no token of another server, and none that was planted", foreign
                )
                used = [asked.params.get("refresh_token") for asked in upstream.refreshes]
                workbench.expect(not set(used) - set(upstream.refresh_tokens), "its own refresh tokens", used)
        mine += [token for upstream in upstreams for token in upstream.access_tokens]
        changed = [name for name, content in kept.items() if _store(workbench).get(name) != content]
        workbench.expect(not changed, "the files of other names stay as they are", changed)
        after = _outside_of_the_store(workbench)
        differ = sorted(set(before.items()) ^ set(after.items()))
        workbench.expect(not differ, "nothing outside of the store changes", differ)
        for upstream in upstreams:
            flow = upstream.exchanges or not upstream.http
            workbench.expect(flow, f"{upstream.name[:30]!r}: a sign-in, or no request at all", upstream.http)
    with workbench.precondition("tokens are stored"):
        stored = " ".join(content.decode(errors="replace") for content in _store(workbench).values())
        workbench.expect(any(token in stored for token in mine), "tokens in the store", stored)


async def _protected(workbench: Workbench, names: list[str]) -> list[ProtectedMockUpstream]:
    made: dict[str, ProtectedMockUpstream] = {}

    async def make(name: str) -> None:
        made[name] = await workbench.oauth(name)

    await workbench.run_cases(*(partial(make, name) for name in names))
    return [made[name] for name in names]


async def _accepted(
    workbench: Workbench, upstreams: list[ProtectedMockUpstream]
) -> list[list[ProtectedMockUpstream]]:
    """All upstreams together where the proxy accepts a configuration with their names. Otherwise each
    accepted one alone.
    """

    async def is_refused(*some: ProtectedMockUpstream) -> bool:
        # Disabled, so that only the names can be a reason.
        switched_off = [one.variant(enabled=False) for one in some]
        outcome = await workbench.run_to_exit(config=workbench.config(*switched_off), within=1.0)
        if outcome.code is not None:
            outcome.refused()
        return outcome.code is not None

    if not await is_refused(*upstreams):
        return [upstreams]
    found = [[one] for one in upstreams if not await is_refused(one)]
    with workbench.precondition("the proxy accepts an ordinary name"):
        workbench.expect([upstreams[0]] in found, upstreams[0].name, found)
    return found


async def _try_to_sign_in(workbench: Workbench, proxy: Proxy, upstream: ProtectedMockUpstream) -> None:
    """Sign in. Raises `Untestable` if an upstream with an ordinary name does not work; the others get some time."""
    if upstream.name.startswith("plain"):
        with workbench.precondition("an ordinary name works"):
            await proxy.ready(upstream)
        return
    await proxy.wake(upstream.name)
    with suppress(Violation):  # the caller judges what came instead
        await workbench.eventually(lambda: upstream.exchanges, within=6.0, what="the sign-in completes")
        await proxy.call(upstream.name, "echo", {"x": 1}, within=15.0)


def _store(workbench: Workbench) -> dict[str, bytes]:
    files = (path for path in token_folder(workbench).rglob("*") if path.is_file())
    return {str(path.relative_to(workbench.sandbox.home)): path.read_bytes() for path in files}


def _outside_of_the_store(workbench: Workbench) -> dict[str, str]:
    """Every file outside the store below HOME, TMPDIR and the working directory, with a digest of its
    content.
    """
    store = token_folder(workbench)
    found = {}
    for root in (workbench.sandbox.home, workbench.sandbox.tmp, workbench.sandbox.cwd):
        for path in root.rglob("*"):
            if path.is_file() and not path.is_relative_to(store):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@check("SEC-007", timeout=70, slow=True)
async def only_a_safe_authorization_url_is_opened(workbench: Workbench) -> None:
    """A proxy may also refuse the URL that a shell would run."""
    marker = workbench.sandbox.tmp / "M"
    shell = f"https://127.0.0.1:1/$(touch$IFS{marker});x|y"
    places = {
        "javascript": "javascript:alert(1)",
        "file": "file:///etc/passwd",
        "data": "data:text/html,x",
        "flag": "-flag",
        "share": "smb://127.0.0.1/x",
        "script": "vbscript:x",
        "protocol": "ms-msdt:/id x",
        "capitals": "JavaScript:alert(1)",
    }

    async def with_endpoint(name: str, place: str) -> ProtectedMockUpstream:
        return await workbench.oauth(name, OAuth(server_fields={"authorization_endpoint": place}))

    good = await workbench.oauth("good")
    bad = [await with_endpoint(name, place) for name, place in places.items()]
    odd = await with_endpoint("odd", shell)
    browser = workbench.browser()
    with workbench.precondition("the proxy opens a safe page"):
        await sign_in(workbench, good)
        workbench.expect(len(browser.pages_of(good)) == 1, "one page", browser.openings)

    def must_open_only_safe_pages() -> None:
        for page in browser.openings[1:]:
            is_web = page.url.startswith(("http://127.0.0.1:", "https://127.0.0.1:"))
            workbench.expect(is_web, "the proxy opens only web addresses", page.argv)
            if not page.url.startswith("https://127.0.0.1:1/"):
                continue  # an endpoint that the metadata do not name, such as the default one of MCP 2025-03-26
            whole = re.search(r"x(\||%7C)y", page.url) and "state" in page.params
            workbench.expect(whole, "the address is one argument", page.argv)

    async def must_fail(proxy: Proxy, upstream: ProtectedMockUpstream) -> None:
        answer = await proxy.call(upstream.name, "echo", within=15.0)
        failed = answer.is_error or bool(upstream.authorizations)
        workbench.expect(failed, f"the sign-in to {upstream.name} fails", answer.raw)

    async with workbench.proxy(odd, *bad) as proxy:
        await proxy.handshake()
        for upstream in (odd, *bad):
            await proxy.wake(upstream.name)
        for upstream in (odd, *bad):
            # A proxy may sign in to one server after the other.
            with workbench.precondition(f"the proxy reads the metadata of {upstream.name}"):
                await workbench.eventually(
                    partial(_is_explored, upstream), within=30.0, what="a request for it"
                )
        await workbench.holds_for(2.5, must_open_only_safe_pages)
        await workbench.run_cases(*(partial(must_fail, proxy, upstream) for upstream in bad))
        must_open_only_safe_pages()
    workbench.expect(not list(marker.parent.glob("M*")), "no shell runs a part of the address", marker)


def _is_explored(upstream: ProtectedMockUpstream) -> bool:
    """Whether a request for anything but the MCP URL has arrived."""
    return bool(upstream.elsewhere)


@check("SEC-008", timeout=40, slow=True)
async def the_callback_page_is_harmless(workbench: Workbench) -> None:
    users = {
        "path": User(strays=[f"GET /{TAG}?error={TAG}"]),
        "state": User(callbacks=[{"state": TAG, "error_description": TAG}]),
        "error": User(
            callbacks=[{"code": None, "error": f"e{TAG}", "error_description": TAG, "error_uri": TAG}]
        ),
    }

    async def must_repeat_no_tag(name: str, user: User) -> None:
        upstream = await workbench.oauth(name)
        async with attempt(workbench, upstream, user) as (_, browser):
            with workbench.precondition("the browser delivers the callback"):
                await browser.done()
        for entry in [*browser.events("stray"), *browser.callbacks]:
            body = entry.data.get("body") or ""
            workbench.expect(
                TAG.lower() not in body.lower(), f"{name}: no tag of the request in the page", body
            )

    async def must_show_no_token() -> None:
        upstream, browser = await _shown_after_a_sign_in(workbench)
        secrets = {"access token": upstream.access_tokens[0], "refresh token": upstream.refresh_tokens[0]}
        _must_show_none_of(workbench, browser, secrets)

    steps = [partial(must_repeat_no_tag, name, user) for name, user in users.items()]
    await workbench.run_cases(*steps, must_show_no_token)


@check("SEC-025", timeout=40, slow=True)
async def the_callback_page_keeps_the_code_to_itself(workbench: Workbench) -> None:
    upstream, browser = await _shown_after_a_sign_in(workbench)
    code = upstream.exchanges[0].params["code"]
    secrets = {
        "code": code,
        "its random part": code.rpartition(".")[2],
        "verifier": upstream.exchanges[0].params["code_verifier"],
    }
    _must_show_none_of(workbench, browser, secrets)
    refused = User(callbacks=[{"code": None, "error": "access_denied"}])
    async with attempt(workbench, await workbench.oauth("refused"), refused) as (_, other):
        with workbench.precondition("the browser delivers the callback"):
            await other.done()
    for entry in [*browser.callbacks, *other.callbacks]:
        headers = dict(entry.data.get("headers") or [])
        kinds = {key.lower() for key in headers}
        workbench.expect("content-type" in kinds or not entry.data.get("body"), "a Content-Type", headers)


async def _shown_after_a_sign_in(workbench: Workbench) -> tuple[ProtectedMockUpstream, Browser]:
    """An upstream to which the proxy has signed in, and the browser with the page at the end."""
    upstream = await workbench.oauth("success")
    async with attempt(workbench, upstream, User()) as (proxy, browser):
        with workbench.precondition("the sign-in works"):
            await must_sign_in(workbench, proxy, upstream)
            await browser.done()
            workbench.expect(browser.callbacks[0].data["status"], "a page", browser.callbacks[0].data)
    return upstream, browser


def _must_show_none_of(workbench: Workbench, browser: Browser, secrets: dict[str, str]) -> None:
    for entry in browser.callbacks:
        found = leaked(entry.data["body"], secrets)
        workbench.expect(not found, "no secret in the page", found)


@check("SEC-012", timeout=40, slow=True)
async def plain_text_oauth_endpoints_are_refused_or_warned_about(workbench: Workbench) -> None:
    host = an_address()
    listener = await workbench.collector(host=host)
    ends: dict[str, Any] = {
        "token": {"token_endpoint": listener.at("/token")},
        "authorization": {"authorization_endpoint": listener.at("/authorization")},
    }
    loopback = await workbench.oauth("loopback")
    upstreams = [await workbench.oauth(name, OAuth(server_fields=fields)) for name, fields in ends.items()]
    browser = workbench.browser()
    async with workbench.proxy(loopback) as proxy:
        await proxy.handshake()
        with workbench.must("the proxy allows http on loopback"):
            await must_sign_in(workbench, proxy, loopback)
    with workbench.precondition("the address is reachable"):
        workbench.expect(await browser.ask(listener.at("/")) is not None, "an answer", listener.url)
    for upstream in upstreams:
        async with workbench.proxy(upstream) as proxy:
            await proxy.handshake()
            await proxy.wake(upstream.name)
            with workbench.precondition("the proxy reads the metadata"):
                await workbench.eventually(
                    partial(_is_explored, upstream), within=10.0, what="a request for it"
                )
            await workbench.holds_for(
                2.5, partial(_must_get_nothing_without_warning, workbench, upstream, listener, proxy)
            )
    workbench.note(f"{len(browser.openings)} pages, {len(listener.http)} requests at {host}")


def _must_get_nothing_without_warning(
    workbench: Workbench, upstream: ProtectedMockUpstream, listener: RemoteMockUpstream, proxy: Proxy
) -> None:
    sent = [request for request in listener.http if request.target.startswith(f"/{upstream.name}")]
    warned = speaks_of_plain_text(proxy.stderr)
    workbench.expect(not sent or warned, f"nothing arrives at {listener.url} without a warning", sent)


def an_address() -> str:
    """An address of this machine that is not loopback."""
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return address.address
    raise Untestable("this machine has no IPv4 address besides loopback")


def speaks_of_plain_text(stderr: str) -> bool:
    """Whether the text mentions the transport. URLs do not count, since each one names its own."""
    words = re.sub(r"\bhttps?://\S+", "", stderr)
    return bool(
        re.search(r"https|insecure|unencrypted|not encrypted|clear ?text|plain|\bTLS\b", words, re.IGNORECASE)
    )
