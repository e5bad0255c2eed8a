"""A program with one upstream that fails with it, or signs in, before it finishes its handshake."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from conformance.errors import Untestable
from conformance.model.profile import Profile
from conformance.model.sut import make_sut
from conformance.workbench.workbench import open_workbench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.workbench.proxy import Proxy

pytestmark = pytest.mark.anyio

#: It reads `initialize`, asks the server for a page, and does what `{do}` says.
PROGRAM = """
import http.client, json, sys, time
from urllib.parse import urlsplit
place = urlsplit(sys.argv[-1])
first = json.loads(sys.stdin.readline())
def answer(**rest):
    print(json.dumps({"jsonrpc": "2.0", "id": first["id"], **rest}), flush=True)
if ASKS:
    connection = http.client.HTTPConnection(place.hostname, place.port)
    connection.request("GET", "/")
    connection.getresponse().read()
DO
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "tools/list":
        first = message
        answer(result={"tools": []})
"""
HELLO = "{'protocolVersion': '2025-11-25', 'capabilities': {}, 'serverInfo': {'name': 'a', 'version': '1'}}"
PROFILE = 'face = "flat"\nstarts_within = 4.0\n[single]\nhttp = ["{url}"]'


@asynccontextmanager
async def greeted(do: str, *, asks: bool = True) -> AsyncIterator[Proxy]:
    program = PROGRAM.replace("DO", do).replace("ASKS", str(asks))
    sut = make_sut([sys.executable, "-c", program], Profile.parse(PROFILE, "mine"))
    async with open_workbench(sut, "X", keep=False) as workbench:
        upstream = await workbench.http("a")
        async with workbench.proxy(upstream) as proxy:
            await proxy.handshake()
            yield proxy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("answer(error={'code': -32000, 'message': 'my reason'})", "my reason"),
        ("sys.exit('my reason')", "exit status 1"),
        ("time.sleep(60)", ""),
    ],
)
async def test_a_later_use_is_an_error_with_the_reason(do: str, reason: str) -> None:
    async with greeted(do) as proxy:
        assert proxy.is_refused
        called = await proxy.call("a", "echo", within=0.2)
        assert called.is_error
        assert reason in called.text
        assert "my reason" in (await proxy.failure_of("a") or "") or not reason
        with pytest.raises(Untestable):
            await proxy.ready("a", within=0.2)


@pytest.mark.slow
async def test_a_late_answer_finishes_the_handshake() -> None:
    async with greeted(f"time.sleep(6); answer(result={HELLO})") as proxy:
        was_refused = proxy.is_refused
        assert not (await proxy.tools_of("a", within=10.0)).is_error
        assert (was_refused, proxy.is_refused) == (True, False)
        assert proxy.version == "1"


async def test_a_program_that_did_not_try_its_upstream_proves_nothing() -> None:
    with pytest.raises(Untestable, match="no answer to initialize"):
        async with greeted("sys.exit(1)", asks=False):
            pass
