"""The protected upstreams and the browser of the workbench; the tests open pages by hand, without a proxy."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import anyio
import anyio.to_thread
import pytest

from conformance.checks.token_files import stored_json, token_file
from conformance.errors import Violation
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench.browsers import OPENERS, Browser
from conformance.workbench.protected import ProtectedMockUpstream
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.browser import User
from mock_servers.oauth_script import CLIENT, OAuth
from mock_servers.remote.oauth.token_registry import challenge_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOT_STARTED = Sut("not-started", (sys.executable, "-c", "pass", "{config}"), Profile("not-started"))
VERIFIER = "v" * 43


@pytest.fixture
async def workbench() -> AsyncIterator[Workbench]:
    async with open_workbench(NOT_STARTED, "TEST", keep=False) as made:
        yield made


def page_of(upstream: ProtectedMockUpstream, callback: str, **more: str) -> str:
    """The URL of a correct authorization request."""
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": callback,
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        "state": "s",
        **more,
    }
    return f"{upstream.issuer}/authorize?{urlencode(asked)}"


async def ask(url: str, body: dict[str, str] | bytes | None = None, **headers: str) -> None:
    def work() -> None:
        data = urlencode(body).encode() if isinstance(body, dict) else body
        with urlopen(Request(url, data=data, headers=headers), timeout=5):
            pass

    await anyio.to_thread.run_sync(work)


async def signs_in(workbench: Workbench, upstream: ProtectedMockUpstream, browser: Browser) -> None:
    """By hand: a page, its callback to a collector, the exchange, one request with the token."""
    listener = await workbench.collector()
    await anyio.to_thread.run_sync(browser.open, page_of(upstream, listener.at("/callback")))
    await browser.done()
    code = upstream.authorizations[-1].issued["code"]
    form = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
    await ask(
        f"{upstream.issuer}/token",
        {**form, "redirect_uri": listener.at("/callback"), "code_verifier": VERIFIER},
    )
    assert [request.target.partition("?")[0] for request in listener.http] == ["/callback"]
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    await ask(upstream.url, body, Authorization=f"Bearer {upstream.access_tokens[0]}")


async def test_evidence_holds_the_events_of_the_browser() -> None:
    async with open_workbench(NOT_STARTED, "TEST", keep=False) as workbench:
        await signs_in(workbench, await workbench.oauth("a"), workbench.browser())
    kinds = [event.kind for event in workbench.evidence.events if event.actor == "browser"]
    assert kinds == ["opened", "thinks", "visit", "callback", "done"]


@pytest.mark.parametrize("oauth", [OAuth(), OAuth(own_origin=True, issuer_path="/tenant")])
async def test_a_sign_in_shows_in_the_browser_and_both_servers(workbench: Workbench, oauth: OAuth) -> None:
    upstream, browser = await workbench.oauth("a", oauth), workbench.browser()
    assert upstream.entry["oauth_client_id"] == CLIENT
    upstream.got_no_token_request()
    browser.must_not_have_opened()
    await signs_in(workbench, upstream, browser)
    (page,) = browser.pages_of(upstream)
    assert page.params["state"] == "s"
    assert page.redirect_uri.endswith("/callback")
    assert [entry.data["status"] for entry in browser.callbacks] == [204]
    assert upstream.exchanges == upstream.token_requests
    assert upstream.refreshes == upstream.registrations == []
    assert upstream.bearers == upstream.access_tokens
    assert len(upstream.refresh_tokens) == 1
    assert [request.rpc for request in upstream.mcp] == ["ping"]
    assert upstream.elsewhere == [f"{upstream.issuer}/authorize", f"{upstream.issuer}/token"]
    with pytest.raises(Violation, match="gets no request"):
        upstream.got_no_token_request()
    with pytest.raises(Violation, match="never opens"):
        browser.must_not_have_opened()


async def test_pages_of_lists_only_pages_of_its_server(workbench: Workbench) -> None:
    one, other, browser = (
        await workbench.oauth("one"),
        await workbench.oauth("other"),
        workbench.browser(User("leaves")),
    )
    await anyio.to_thread.run_sync(browser.open, page_of(one, "http://127.0.0.1:9/"))
    assert len(browser.pages_of(one)) == 1
    assert browser.pages_of(other) == []


async def test_an_entry_may_leave_out_the_client_id(workbench: Workbench) -> None:
    assert "oauth_client_id" not in (await workbench.oauth("a", oauth_client_id=None)).entry


async def test_every_program_that_opens_pages_is_replaced(workbench: Workbench, tmp_path: Path) -> None:
    upstream = await workbench.oauth("a")
    replaced = os.path.dirname(workbench.browser().environment["BROWSER"])
    assert set(OPENERS) == set(os.listdir(replaced))
    url = page_of(upstream, "http://127.0.0.1:9/")
    script = tmp_path / "opens.py"
    script.write_text(f"import subprocess\nsubprocess.run(['xdg-open', {url!r}], check=True)\n")
    opener = Sut("opener", (sys.executable, str(script), "{config}"), Profile("opener"))
    async with open_workbench(opener, "TEST", keep=False) as second:
        browser = second.browser(User("leaves"))
        assert (await second.run_to_exit(args=[])).code == 0
        page = await browser.opened()
        assert (page.argv, page.url, page.number) == (["xdg-open", url], url, 1)


async def test_a_browser_that_does_not_work_opens_nothing(tmp_path: Path) -> None:
    script = tmp_path / "opens.py"
    script.write_text("import subprocess, sys\nsys.exit(subprocess.run(['open', 'http://h/']).returncode)\n")
    opener = Sut("opener", (sys.executable, str(script), "{config}"), Profile("opener"))
    async with open_workbench(opener, "TEST", keep=False) as second:
        browser = second.browser(works=False)
        assert (await second.run_to_exit(args=[])).code == 1
        browser.must_not_have_opened()


async def test_a_busy_user_is_no_leftover() -> None:
    async with open_workbench(NOT_STARTED, "TEST", keep=False) as workbench:
        upstream, browser = await workbench.oauth("a"), workbench.browser(User(wait=60))
        await anyio.to_thread.run_sync(browser.open, page_of(upstream, "http://127.0.0.1:9/"))
        await workbench.eventually(lambda: browser.events("thinks"), within=10.0, what="the user thinks")
    assert workbench.census.alive() == []
    assert workbench.evidence.leftovers == []


def test_the_desktop_of_the_machine_is_out_of_sight(tmp_path: Path) -> None:
    environment = Browser(tmp_path, "token", (), works=True).environment
    for name in ("XDG_DATA_DIRS", "XDG_CONFIG_DIRS"):
        assert not os.path.exists(environment[name])


async def test_registration_is_offered_where_no_client_id_can_be_configured() -> None:
    sut = Sut("not-started", NOT_STARTED.command, Profile("not-started", registers=True))
    form = json.dumps({"redirect_uris": ["http://127.0.0.1/callback"], "token_endpoint_auth_method": "none"})
    async with open_workbench(sut, "TEST", keep=False) as made:
        upstream, bare = await made.oauth("a"), await made.oauth("b", oauth_client_id=None)
        assert "oauth_client_id" not in upstream.entry
        assert upstream.client_id is None
        await ask(f"{upstream.issuer}/register", form.encode(), **{"Content-Type": "application/json"})
        assert upstream.client_id == upstream.registrations[0].issued["client_id"]
        # A check that asks for no client id is about the registration itself.
        assert bare.script.oauth is not None
        assert not bare.script.oauth.registration


async def test_a_configured_client_id_is_the_client_id(workbench: Workbench) -> None:
    assert (await workbench.oauth("a")).client_id == CLIENT


async def test_a_missing_or_broken_token_file_is_a_violation(workbench: Workbench) -> None:
    with pytest.raises(Violation, match=r"a\.json exists"):
        stored_json(workbench, "a")
    file = token_file(workbench, "a")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"{\xff")
    with pytest.raises(Violation, match=r"a\.json is JSON"):
        stored_json(workbench, "a")
    file.write_text("[1]")
    assert stored_json(workbench, "a") == [1]
