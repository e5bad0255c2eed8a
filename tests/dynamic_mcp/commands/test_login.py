"""``dynamic-mcp login`` and ``logout``, and their effect on the proxy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from conformance.checks.hard_keyring import mock_keychain
from conformance.model.sut import make_sut
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.browser import User
from mock_servers.oauth_script import OAuth

pytestmark = pytest.mark.slow


@pytest.fixture
async def bench() -> AsyncIterator[Workbench]:
    async with open_workbench(make_sut(), "TEST", keep=False) as bench:
        yield bench


async def test_proxy_uses_the_tokens_of_login_until_logout(bench: Workbench) -> None:
    upstream = await bench.oauth("a", OAuth())
    browser = bench.browser(User())
    config = bench.config(upstream)

    login = await bench.run_to_exit(args=["login", "a", str(config)], within=30.0)
    assert (login.code, login.stdout) == (0, b""), login.stderr
    async with bench.proxy(config=config) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
    assert len(browser.openings) == 1

    logout = await bench.run_to_exit(args=["logout", "a"], within=30.0)
    assert logout.code == 0
    assert not list((bench.sandbox.home / ".dynamic-mcp" / "oauth-servers").glob("*.json"))
    assert (await bench.run_to_exit(args=["logout", "a"], within=30.0)).code == 1


async def test_login_and_logout_use_the_configured_keyring(bench: Workbench) -> None:
    upstream = await bench.oauth("a", OAuth())
    bench.browser(User())
    log = bench.sandbox.tmp / "audit.jsonl"
    security = {"token_store": "keyring", "audit": {"file": str(log)}}
    config = bench.config(upstream, extra={"security": security})
    keychain, env = mock_keychain(bench)

    login = await bench.run_to_exit(args=["login", "a", str(config)], env=env, within=30.0)
    assert login.code == 0, login.stderr
    assert upstream.access_tokens[0] in keychain.read_text()
    # Without the configuration the command only tries the file, which does not exist.
    assert (await bench.run_to_exit(args=["logout", "a"], env=env, within=30.0)).code == 1
    logout = await bench.run_to_exit(args=["logout", "a", str(config)], env=env, within=30.0)
    assert logout.code == 0, logout.stderr
    assert keychain.read_text() == "{}"
    nowhere = {**env, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    refused = await bench.run_to_exit(args=["logout", "a", str(config)], env=nowhere, within=30.0)
    assert refused.code == 1
    assert "keyring" in refused.stderr
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["sign_in_began", "sign_in", "sign_out"]


async def test_refused_sign_in_is_a_failure_with_the_reason(bench: Workbench) -> None:
    upstream = await bench.oauth("a", OAuth())
    bench.browser(User("denies"))
    login = await bench.run_to_exit(args=["login", "a", str(bench.config(upstream))], within=30.0)
    assert login.code == 1
    assert "access_denied" in login.stderr


@pytest.mark.parametrize(("server", "reason"), [("nobody", "no enabled server"), ("child", "child process")])
async def test_login_needs_a_server_behind_a_url(bench: Workbench, server: str, reason: str) -> None:
    config = bench.config(bench.stdio("child"))
    login = await bench.run_to_exit(args=["login", server, str(config)], within=30.0)
    assert login.code == 2
    assert reason in login.stderr
