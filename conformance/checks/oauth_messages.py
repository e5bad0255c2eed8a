"""OAUTH: what a failed sign-in says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_sign_in
from mock_servers.oauth_script import Fault, OAuth

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench


def _failing() -> dict[str, tuple[tuple[str, ...], OAuth]]:
    """By name: what the message has to mention one of, and the server."""
    return {
        "exchange": (
            ("invalid_grant", "400"),
            OAuth(own_origin=True, faults=[Fault("token", status=400, body={"error": "invalid_grant"})]),
        ),
        "register": (
            ("403",),
            OAuth(own_origin=True, registration=True, faults=[Fault("register", status=403)]),
        ),
        "refused": (("access_denied",), OAuth(own_origin=True, error="access_denied")),
        "unknown": (("404",), OAuth(own_origin=True, server_metadata=[])),
    }


@check("OAUTH-045", timeout=40, slow=True)
async def a_failed_sign_in_says_which_address_answered_what(workbench: Workbench) -> None:
    good = await workbench.oauth("good")
    failing = {}
    for name, (words, oauth) in _failing().items():
        fields: dict[str, Any] = {"oauth_client_id": None} if name == "register" else {}
        failing[name] = words, await workbench.oauth(name, oauth, **fields)
    workbench.browser()
    async with workbench.proxy(good, *(upstream for _, upstream in failing.values())) as proxy:
        await proxy.handshake()
        with workbench.precondition("a sign-in works"):
            await must_sign_in(workbench, proxy, good)
        for name, (words, upstream) in failing.items():
            with workbench.case(name):
                await _must_be_explained(workbench, proxy, upstream, words)


async def _must_be_explained(
    workbench: Workbench, proxy: Proxy, upstream: ProtectedMockUpstream, words: tuple[str, ...]
) -> None:
    place, said = urlsplit(upstream.issuer).netloc, ""
    for _ in range(10):
        answer = await proxy.call(upstream.name, "echo", within=15.0)
        workbench.expect(answer.is_error, "the call fails", answer.raw)
        said += f"{answer.text}\n"
        lines = [line for line in f"{said}{proxy.stderr}".splitlines() if place in line]
        if any(word in line for line in lines for word in words):
            break
        await workbench.holds_for(0.5, lambda: None)
    else:
        workbench.expect(False, f"a line with {place} and {' or '.join(words)}", f"{said}{proxy.stderr}")
    codes = [asked.issued["code"] for asked in upstream.authorizations if "code" in asked.issued]
    shown = [code for code in codes if code in said or code in proxy.stderr]
    workbench.expect(not shown, "no authorization code in a message", shown)
