"""HARD: tokens in the system keychain, through the Python library `keyring`.

A proxy in another language declares this absent, since no test backend works for all languages.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import mock_servers.keychain
from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in, until
from conformance.checks.sec_secrets import tokens_of
from conformance.checks.token_files import token_file
from conformance.workbench.leak_scan import leaked
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

SHORT = 3


@check("HARD-002", timeout=60, slow=True)
async def tokens_can_be_kept_in_the_system_keychain(workbench: Workbench) -> None:
    """The tokens of a refresh go into the keyring, too."""
    settings = workbench.sut.profile.configured(token_store="keyring")
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT, 3600]))
    config = workbench.config(upstream, extra=settings)
    keychain, env = mock_keychain(workbench)
    browser = workbench.browser()
    # The first token is short-lived, so a slow first start may already have refreshed it.
    for start, issued in ((1, (1, 2)), (2, (2,)), (3, (2,))):
        with workbench.case(f"start number {start}"):
            async with workbench.proxy(upstream, config=config, env=env) as proxy:
                await proxy.handshake()
                await must_sign_in(workbench, proxy, upstream)
                await must_answer_a_call(workbench, proxy, upstream)
            workbench.expect(len(browser.openings) == 1, "one page in all", browser.openings)
            workbench.expect(
                len(upstream.access_tokens) in issued, f"{issued} access tokens", upstream.token_requests
            )
            kept = keychain.read_text() if keychain.exists() else "no entry"
            workbench.expect(upstream.access_tokens[-1] in kept, "the newest token in the keyring", kept)
            workbench.expect(upstream.refresh_tokens[-1] in kept, "and the newest refresh token", kept)
            _must_have_no_token(workbench, upstream)
        if start == 1:
            await until(workbench, upstream.token_requests[-1].t + SHORT + 0.5)
    await _must_be_reported_missing(
        workbench, {**env, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    )


def mock_keychain(workbench: Workbench) -> tuple[Path, dict[str, str]]:
    """The file of a keyring outside HOME, and the environment that selects this keyring."""
    keychain = workbench.sandbox.mocks / "keychain.json"
    paths = [
        str(Path(mock_servers.keychain.__file__).parent),
        workbench.sut.environment.get("PYTHONPATH", ""),
    ]
    return keychain, {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MOCK_KEYCHAIN": str(keychain),
        "PYTHON_KEYRING_BACKEND": "mock_keychain.Keyring",
    }


async def _must_be_reported_missing(workbench: Workbench, env: dict[str, str]) -> None:
    upstream = await workbench.oauth("b")
    workbench.browser()
    config = workbench.config(upstream, extra=workbench.sut.profile.configured(token_store="keyring"))
    with workbench.case("without a usable keyring"):
        async with workbench.proxy(upstream, config=config, env=env) as proxy:
            await proxy.handshake()
            await proxy.wake(upstream.name)
            with workbench.precondition("the proxy contacts the upstream"):
                await workbench.eventually(lambda: upstream.http, within=10.0, what="a request reaches it")
            await workbench.eventually(
                lambda: "keyring" in proxy.stderr.lower() or "keychain" in proxy.stderr.lower(),
                within=5.0,
                what="stderr says that the keyring is unusable",
            )
            await workbench.holds_for(3.0, lambda: _must_have_no_token(workbench, upstream))


def _must_have_no_token(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    """Raise `Violation` if a file under HOME holds a token, or a token file has content."""
    tokens = tokens_of(upstream)
    for path in workbench.sandbox.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found = leaked(content.decode(errors="replace"), tokens)
            workbench.expect(not found, f"no token in {path.relative_to(workbench.sandbox.home)}", found)
            is_token_file = path == token_file(workbench, upstream.name)
            workbench.expect(not (is_token_file and content), "no token file", path)
