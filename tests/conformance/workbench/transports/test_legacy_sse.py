"""The client over HTTP+SSE: what an honest server gets, and how each fault of a server shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.errors import NotApplicable, Untestable, Violation
from conformance.model.client_table import ClientTable
from tests.conformance.workbench.transports.test_streamable import ANY, bench

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from conformance.workbench.workbench import Workbench

TABLE = ClientTable(transport="sse", url="http://127.0.0.1:{port}/sse")


def serving(fault: str) -> AbstractAsyncContextManager[Workbench]:
    return bench(fault, TABLE, starts_within=2.0 if fault == "sse-nothing" else 10.0)


async def test_answers_come_on_the_stream() -> None:
    async with serving("sse") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        answer = await proxy.request("some/method", id="one")
        proxy.modern = True
        with pytest.raises(NotApplicable, match="2026-07-28"):
            await proxy.request("tools/list")
    assert answer.result == {"of": "one"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("sse-nothing", "a session begins within 2 s|no answer to initialize"),
        ("sse-foreign", "no answer to initialize"),
    ],
)
async def test_a_stream_without_a_usable_endpoint_begins_no_session(fault: str, seen: str) -> None:
    async with serving(fault) as workbench:
        with pytest.raises(Untestable, match=seen):
            async with workbench.proxy(exit_within=0.5) as proxy:
                await proxy.handshake()


@pytest.mark.slow
async def test_the_end_of_the_stream_ends_every_request() -> None:
    async with serving("sse-ends") as workbench:
        with pytest.raises(Violation, match=r"an answer to some/method.*\n.*the stream ended"):
            async with workbench.proxy(**ANY, exit_within=0.5) as proxy:
                await proxy.handshake()
                await proxy.request("some/method", within=3.0)
