"""SEC and OAUTH: where a server may lead the proxy, and what the address of a sign-in may hold."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_sign_in
from conformance.checks.sec_signin import an_address
from conformance.workbench.certificates import Authority
from mock_servers.browser import User
from mock_servers.hostile import sign_ins

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.browsers import Browser
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: the name of the listener in other spellings; none of them is loopback for a proxy that compares texts
SPELLINGS = ("2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "localhost.")
#: what is no character of a URL (RFC 3986, section 2)
_FOREIGN = re.compile(r"[^!-~]|[\"<>\\^`{|}]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@check("SEC-014", timeout=60, slow=True)
async def a_server_elsewhere_leads_to_nothing_on_this_machine(workbench: Workbench) -> None:
    """The servers have an address of this machine that is not loopback, and https, so that every honest step is allowed."""
    host = an_address()
    authority = Authority(workbench.sandbox.root / "tls")
    certificate = authority.good(host)
    inner = await workbench.collector()
    good = await workbench.oauth("good", host=host, tls=certificate)
    scripts = {
        "challenge": sign_ins.challenges_inward(inner.at("")),
        "issuer": sign_ins.names_an_inward_server(inner.at("")),
        "registration": sign_ins.registers_inward(inner.at("")),
        "token": sign_ins.exchanges_inward(inner.at("")),
    }
    port = urlsplit(inner.url).port
    for number, spelling in enumerate(SPELLINGS):
        scripts[f"spelling{number}"] = sign_ins.names_an_inward_server(f"https://{spelling}:{port}")
    bad = [
        await workbench.oauth(name, script=script, host=host, tls=certificate, **_client(name))
        for name, script in scripts.items()
    ]
    workbench.browser()
    async with workbench.proxy(good, *bad, env=authority.environment) as proxy:
        await proxy.handshake()
        with workbench.precondition(f"a sign-in to an honest server at {host} works"):
            await must_sign_in(workbench, proxy, good)
        for upstream in bad:
            await proxy.wake(upstream.name)
        for upstream in bad:
            with workbench.precondition(f"the proxy contacts {upstream.name}"):
                await workbench.eventually(
                    partial(_is_contacted, upstream), within=10.0, what="a request reaches it"
                )

        async def must_end(upstream: ProtectedMockUpstream) -> None:
            # The call may fail, or succeed by other metadata of the server.
            await proxy.call(upstream.name, "echo", within=20.0)

        await workbench.run_cases(*(partial(must_end, upstream) for upstream in bad))
        inner.saw_nothing()


def _client(name: str) -> dict[str, Any]:
    """The server that offers a registration knows no client."""
    return {"oauth_client_id": None} if name == "registration" else {}


@check("OAUTH-031", timeout=60, slow=True)
async def the_address_of_a_sign_in_is_plain(workbench: Workbench) -> None:
    """A proxy may also refuse the endpoint. One run has a browser, one has none, and in one a shell opens the pages."""
    marker = workbench.sandbox.tmp / "marker"
    good = await workbench.oauth("good")
    odd = await workbench.oauth("odd", script=sign_ins.speaks_to_the_shell(str(marker)))
    workbench.browser()
    with workbench.precondition("the proxy opens a page"):
        async with workbench.proxy(good) as proxy:
            await proxy.handshake()
            await must_sign_in(workbench, proxy, good)
    runs = {"a browser": {}, "no browser": {}, "a shell": {"BROWSER": "sh -c 'echo \"%s\"'"}}
    for name, env in runs.items():
        browser = workbench.browser(User(answer="leaves"), works=name != "no browser")
        before = len(odd.elsewhere)
        async with workbench.proxy(odd, env=env) as proxy:
            await proxy.handshake()
            await proxy.wake(odd.name)
            with workbench.precondition("the proxy reads the metadata"):
                await workbench.eventually(
                    partial(_is_read, odd, before), within=10.0, what="a request for them"
                )
            with workbench.case(f"with {name}"):
                await workbench.holds_for(1.0, partial(_must_be_plain, workbench, browser, proxy, marker))


def _is_contacted(upstream: ProtectedMockUpstream) -> bool:
    return bool(upstream.mcp)


def _is_read(upstream: ProtectedMockUpstream, before: int) -> bool:
    return len(upstream.elsewhere) > before


def _must_be_plain(workbench: Workbench, browser: Browser, proxy: Proxy, marker: Path) -> None:
    workbench.expect(not marker.exists(), "no part of the address runs as a command", marker)
    for page in browser.openings:
        _must_have_only_url_characters(workbench, page.url, f"the opened address, in {page.argv}")
    found = _CONTROLS.search(proxy.stderr)
    workbench.expect(not found, "no control or bidirectional characters on stderr", repr(proxy.stderr))
    for address in re.findall(r"https?://\S+/authorize\S*", proxy.stderr):
        _must_have_only_url_characters(workbench, address, f"the address {address} on stderr")


def _must_have_only_url_characters(workbench: Workbench, address: str, where: str) -> None:
    others = sorted(set(_FOREIGN.findall(address)))
    workbench.expect(not others, "only characters of a URL (RFC 3986, section 2)", f"{others} in {where}")
