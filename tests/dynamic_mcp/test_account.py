"""``dynamic-mcp login`` and ``logout``, as a person at a terminal has them, and as the proxy finds their work."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from conformance.sut import make_sut
from conformance.workbench import Workbench, open_workbench
from mock_servers.browser import User
from mock_servers.oauth_script import OAuth

pytestmark = pytest.mark.slow


@pytest.fixture
async def bench() -> AsyncIterator[Workbench]:
    async with open_workbench(make_sut(), "TEST", keep=False) as bench:
        yield bench


async def test_what_login_brought_the_proxy_uses_and_logout_takes_away(bench: Workbench) -> None:
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


async def test_a_sign_in_that_is_refused_is_said_and_is_no_success(bench: Workbench) -> None:
    upstream = await bench.oauth("a", OAuth())
    bench.browser(User("denies"))
    login = await bench.run_to_exit(args=["login", "a", str(bench.config(upstream))], within=30.0)
    assert login.code == 1
    assert "access_denied" in login.stderr


@pytest.mark.parametrize(("server", "reason"), [("nobody", "no enabled server"), ("child", "child process")])
async def test_only_a_server_behind_a_url_is_signed_in_to(bench: Workbench, server: str, reason: str) -> None:
    config = bench.config(bench.stdio("child"))
    login = await bench.run_to_exit(args=["login", server, str(config)], within=30.0)
    assert login.code == 2
    assert reason in login.stderr
