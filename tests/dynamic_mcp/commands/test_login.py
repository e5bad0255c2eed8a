"""``dynamic-mcp login`` and ``logout``, and their effect on the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from anyio import to_thread

from conformance.checks.common import must_answer_a_call, must_work_again, until
from conformance.checks.hard_keyring import mock_keychain
from conformance.model.sut import make_sut
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.browser import User
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.remote_actions import refuse_tokens
from mock_servers.script import Script, on_call

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


#: Methods of a server that demands a token for calls only.
OPEN = ["initialize", "notifications/initialized", "server/discover", "tools/list"]


@pytest.mark.parametrize("open_methods", [OPEN, OPEN[:-1]], ids=["calls", "lists and calls"])
async def test_login_signs_in_to_a_server_that_refuses_nothing_at_first(
    bench: Workbench, open_methods: list[str]
) -> None:
    upstream = await bench.oauth("a", OAuth(open_methods=open_methods))
    browser = bench.browser(User())
    config = bench.config(upstream)

    login = await bench.run_to_exit(args=["login", "a", str(config)], within=30.0)
    assert login.code == 0, login.stderr
    async with bench.proxy(config=config) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        assert not (await proxy.call("a", "echo")).is_error
    assert len(browser.openings) == 1


async def test_login_needs_no_sign_in_to_an_open_server(bench: Workbench) -> None:
    upstream, browser = await bench.http("a"), bench.browser(User())
    login = await bench.run_to_exit(args=["login", "a", str(bench.config(upstream))], within=30.0)
    assert login.code == 0, login.stderr
    browser.must_not_have_opened()


async def test_login_asks_again_after_a_change_of_the_scopes(bench: Workbench) -> None:
    upstream, browser = await bench.oauth("a", OAuth()), bench.browser(User())

    async def pages_after(scopes: list[str]) -> int:
        entry = {**upstream.entry, "description": "d", "oauth_scopes": scopes}
        config = bench.sandbox.tmp / "scopes.json"
        config.write_text(json.dumps({"mcpServers": {"a": entry}}))
        login = await bench.run_to_exit(args=["login", "a", str(config)], within=30.0)
        assert login.code == 0, login.stderr
        return len(browser.openings)

    changes = [["a"], ["a"], ["a", "b"], ["b", "a"], ["b"], []]
    assert [await pages_after(scopes) for scopes in changes] == [1, 1, 2, 2, 3, 4]
    assert [page.params.get("scope") for page in browser.openings] == ["a", "a b", "b", None]


async def test_proxy_that_waits_uses_the_tokens_of_login(bench: Workbench) -> None:
    """The answer for the group has the command, whose path needs quotes."""
    upstream = await bench.oauth("a", OAuth())
    browser = bench.browser(works=False)
    config = bench.sandbox.tmp / "my project.json"
    bench.config(upstream).rename(config)
    async with bench.proxy(config=config) as proxy:
        await proxy.handshake()
        answer = await proxy.call("a", "echo")
        command = re.search("(?m)^Or run: dynamic-mcp (.*)$", answer.text)
        assert command is not None, answer.text
        assert shlex.split(command[1]) == ["login", "a", str(config)]
        assert len(browser.openings) == 0
        bench.browser(User())
        login = await bench.run_to_exit(args=shlex.split(command[1]), within=30.0)
        assert login.code == 0, login.stderr
        await proxy.ready(upstream, within=3.0)


async def test_login_signs_in_if_the_renewal_fails(bench: Workbench) -> None:
    """A running proxy, which has the same failure, uses the new tokens."""
    fails = Fault("token", grant="refresh_token", status=500)
    upstream = await bench.oauth("a", OAuth(lifetimes=[3, 3600], faults=[fails]))
    browser = bench.browser(User())
    config = bench.config(upstream)
    async with bench.proxy(config=config) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        signed_in = upstream.exchanges[0].t
        await until(bench, signed_in + 3.5)
        answer = await proxy.call("a", "echo")
        assert answer.is_error
        assert "HTTP 500" in answer.text
        assert f"dynamic-mcp login a {config}" in answer.text
        assert len(browser.openings) == 1

        login = await bench.run_to_exit(args=["login", "a", str(config)], within=30.0)
        assert login.code == 0, login.stderr
        assert len(browser.openings) == 2
        await must_answer_a_call(bench, proxy, upstream)


#: A server without refresh tokens that refuses its tokens for a while after a call of the tool ``add``.
OUTAGE = 5.0
REFUSES = Script(oauth=OAuth(refresh_tokens=False), on=[on_call("add", refuse_tokens(OUTAGE))])


async def test_proxy_that_waits_uses_tokens_that_the_server_takes_again(bench: Workbench) -> None:
    """The user does not sign in at the page of the outage, and ``login`` finds that the stored tokens work."""
    upstream = await bench.oauth("a", script=REFUSES)
    browser = bench.browser(User(), User("leaves"))
    config = bench.config(upstream)
    async with bench.proxy(config=config) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        assert not (await proxy.call("a", "add", {"a": 1, "b": 2})).is_error
        began = time.monotonic()
        waiting = asyncio.create_task(proxy.call("a", "echo", {"x": 1}, within=50.0))
        await bench.eventually(lambda: len(browser.openings) == 2, within=10.0, what="the second page")
        await asyncio.sleep(max(0.0, began + OUTAGE - time.monotonic()))

        login = await bench.run_to_exit(args=["login", "a", str(config)], within=30.0)
        assert login.code == 0, login.stderr
        answer = await asyncio.wait_for(waiting, 10)
        assert not answer.is_error, answer.raw
    assert len(browser.openings) == 2


async def test_group_that_could_not_start_sends_its_tokens_before_a_page_opens(bench: Workbench) -> None:
    upstream = await bench.oauth("a", script=REFUSES)
    browser = bench.browser(User())
    async with bench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.ready(upstream)
        assert not (await proxy.call("a", "add", {"a": 1, "b": 2})).is_error
        began = time.monotonic()
    async with bench.proxy(upstream) as proxy:
        await proxy.handshake()
        refused = len(upstream.mcp)
        await bench.eventually(lambda: len(upstream.mcp) > refused, within=10.0, what="a refused start")
        await asyncio.sleep(max(0.0, began + OUTAGE - time.monotonic()))
        await must_work_again(bench, proxy, upstream, within=5.0)
    assert len(browser.openings) == 1


def _redirect_of(address: str) -> str:
    """Where the page leads, without going there: the address that a browser elsewhere shows at last."""
    parts = urlsplit(address)
    with contextlib.closing(HTTPConnection(parts.netloc, timeout=10)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        return str(connection.getresponse().headers["Location"])


@pytest.mark.parametrize("stays_open", [True, False])
async def test_login_takes_the_address_from_a_pipe(bench: Workbench, stays_open: bool) -> None:
    upstream = await bench.oauth("a", OAuth())
    config = bench.config(upstream)

    def log_in() -> tuple[int, str]:
        with subprocess.Popen(
            [sys.executable, "-m", "dynamic_mcp", "login", "a", str(config), "--no-browser"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(bench.sandbox.home)},
        ) as login:
            assert login.stdin is not None
            assert login.stderr is not None
            address = next(line.strip() for line in login.stderr if "/authorize?" in line)
            login.stdin.write(f"not an address\n\n{_redirect_of(address)}\n")
            login.stdin.flush()
            if not stays_open:
                login.stdin.close()
            code = login.wait(20)
            return code, login.stderr.read()

    code, said = await to_thread.run_sync(log_in)
    assert code == 0, said
    assert "a is ready" in said
