"""Authorization servers of other projects: a person signs in, tokens are renewed and revoked, and the person signs in again."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from mcp import Client

from tests.interop.programs import proxy, text_of, tools_of, write_config

if TYPE_CHECKING:
    from .judges import Judge

pytestmark = [pytest.mark.signin, pytest.mark.timeout(180)]

WITHIN = 120
JUDGES = ("sdk_behind_oidc_provider", "sdk_behind_tenant", "fastmcp_in_memory", "fastmcp_proxy")


@pytest.fixture(params=JUDGES)
def judge(request: pytest.FixtureRequest) -> Callable[[Path], AbstractAsyncContextManager[Judge]]:
    """The context of one judge, whose module needs packages of `tox -e signin`."""
    pytest.importorskip("fastmcp", reason="fastmcp is not installed")
    from . import judges

    return getattr(judges, request.param)  # type: ignore[no-any-return]  # by its name


class Person:
    """A user with a home folder and a scripted browser."""

    def __init__(self, home: Path, judge: Judge) -> None:
        self._home = home
        self._judge = judge
        self.journal = home / "browser.txt"
        self.journal.touch()
        self._browser = home / "browser"
        program = shlex.join([sys.executable, "-m", "tests.signin.browser", str(self.journal)])
        self._browser.write_text(f'#!/bin/sh\n{program} "$1" </dev/null >/dev/null 2>&1 &\n')
        self._browser.chmod(0o755)

    def proxy(self) -> Client:
        config = write_config(
            self._home, {"judge": {"description": "Needs a sign-in", "url": self._judge.url}}
        )
        here = str(Path(__file__).parents[2])
        return proxy(config, "auto", HOME=str(self._home), BROWSER=str(self._browser), PYTHONPATH=here)

    @property
    def pages(self) -> int:
        """How often the proxy has opened the browser."""
        return self.journal.read_text().count("opened ")

    @property
    def stored(self) -> dict[str, Any]:
        """The content of the token file."""
        (file,) = self._home.glob(".dynamic-mcp/oauth-servers/*.json")
        stored: dict[str, Any] = json.loads(file.read_text())
        return stored

    async def revoke(self) -> None:
        """Revoke the stored tokens at the authorization server (RFC 7009), with the client id and the secret of the proxy."""
        stored = self.stored
        client = stored["client"]
        id, secret = client["client_id"], client.get("client_secret") or ""
        # The servers of the SDK want the member even of a client without a secret.
        form = {"client_id": id, "client_secret": secret}
        auth = (id, secret) if client.get("method") == "client_secret_basic" else None
        async with httpx.AsyncClient(trust_env=False, auth=auth) as http:
            for member in ("refresh_token", "access_token"):
                answer = await http.post(
                    self._judge.revocation,
                    data={**form, "token": stored[member], "token_type_hint": member},
                )
                assert answer.status_code == 200, answer.text


async def greet(client: Client) -> str:
    """The text of the answer, after the sign-in if one is needed."""
    arguments = {"group": "judge", "name": "greet", "args": {"name": "you"}}
    while "sign in" in (text := text_of(await client.call_tool("call_dynamic_tool", arguments))):  # noqa: ASYNC110  # there is no event for the user's sign-in
        await anyio.sleep(0.1)
    return text


async def test_a_person_signs_in_and_tokens_are_renewed_and_revoked(
    judge: Callable[[Path], AbstractAsyncContextManager[Judge]], npm: Path, tmp_path: Path
) -> None:
    with anyio.fail_after(WITHIN):
        async with judge(npm) as place:
            person = Person(tmp_path, place)
            async with person.proxy() as client:
                assert await greet(client) == "Grüße, you", person.journal.read_text()
                assert await tools_of(client, "judge") == ["greet"]
                first = person.stored
                await anyio.sleep(place.lifetime + 1)  # servers count whole seconds
                assert await greet(client) == "Grüße, you"
                assert person.pages == 1
                assert person.stored["access_token"] != first["access_token"]
            async with person.proxy() as client:
                assert await greet(client) == "Grüße, you"
                assert person.pages == 1
                await person.revoke()
                assert await greet(client) == "Grüße, you"
                assert person.pages == 2
                assert await greet(client) == "Grüße, you"
    assert person.pages == 2
