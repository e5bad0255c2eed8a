"""Requests that a check composes itself: what they carry, and how a response that is missing or endless shows."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from conformance.errors import ImplementationCrashed, NotApplicable, Violation
from conformance.model.client_table import ClientTable
from conformance.workbench import endpoint as module
from conformance.workbench.endpoint import Endpoint, EndpointReply, needs_streamable_http
from tests.conformance.workbench.transports.test_streamable import ANY, TABLE, bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST = {"id": "one", "method": "some/method"}


@asynccontextmanager
async def endpoint_of(fault: str, table: ClientTable = TABLE) -> AsyncIterator[Endpoint]:
    """The endpoint of a program with this fault."""
    async with bench(fault, table) as workbench, workbench.proxy(**ANY, exit_within=0.5) as proxy:
        await proxy.handshake()
        yield Endpoint(workbench, proxy)


async def test_a_session_has_its_id_and_its_version() -> None:
    async with endpoint_of("none") as endpoint:
        session = await endpoint.begin()
        assert session == {"Mcp-Session-Id": "s-1", "MCP-Protocol-Version": "2025-11-25"}
        reply = await endpoint.post(REQUEST, session)
        assert reply.has_result
        assert "HTTP 200: " in str(reply)


async def test_the_headers_of_the_profile_are_sent_and_not_noted() -> None:
    table = ClientTable(transport="http", url=TABLE.url, headers={"Mcp-Key": "from the profile"})
    async with bench("none", table) as workbench:
        async with workbench.proxy(**ANY) as proxy:
            await proxy.handshake()
            await Endpoint(workbench, proxy).post(REQUEST, {"Origin": "http://other.example"})
            await workbench.eventually(
                lambda: proxy.stderr.count("from the profile") == 4, within=5.0, what="all four requests"
            )
        await workbench.close(keep=False)
        notes = [event.text for event in workbench.evidence.events if event.kind == "note"]
    assert any("http://other.example" in note for note in notes)
    assert not any("from the profile" in note for note in notes)


async def test_a_stream_that_ends_before_the_answer_is_resumed() -> None:
    async with endpoint_of("cuts") as endpoint:
        reply = await endpoint.post(REQUEST, await endpoint.begin())
        assert reply.has_result


async def test_a_stream_that_ends_before_the_answer_and_has_no_ids_has_no_result() -> None:
    async with endpoint_of("loses") as endpoint:
        reply = await endpoint.post(REQUEST, await endpoint.begin())
        assert (reply.status, reply.has_result) == (200, False)


async def test_a_stream_is_read_up_to_the_answer() -> None:
    async with endpoint_of("streams") as endpoint:
        reply = await endpoint.post(REQUEST, await endpoint.begin())
        assert reply.has_result


async def test_a_get_stream_has_a_status_and_no_body() -> None:
    async with endpoint_of("none") as endpoint:
        began = time.monotonic()
        assert await endpoint.request("GET", await endpoint.begin()) is not None
        assert time.monotonic() - began < 5


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seen"), [("not-http", "the connection broke"), ("silent", "none")])
async def test_a_missing_response_is_a_violation(
    fault: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WITHIN", 1.0)
    async with endpoint_of(fault) as endpoint:
        with pytest.raises(Violation, match=f"(?s)a response to POST.*{seen}"):
            await endpoint.post(REQUEST)


async def test_a_program_that_dies_has_crashed() -> None:
    with pytest.raises(ImplementationCrashed, match="killed by SIGKILL"):
        async with endpoint_of("dies") as endpoint:
            await endpoint.post(REQUEST)


async def test_an_endless_body_is_cut() -> None:
    async with endpoint_of("endless-body") as endpoint:
        assert len((await endpoint.post(REQUEST)).body) <= 2 * module._MAX_BODY


async def test_it_is_about_streamable_http() -> None:
    table = ClientTable(transport="sse", url=TABLE.url)
    async with bench("none", table) as workbench:
        with pytest.raises(NotApplicable, match="Streamable HTTP"):
            needs_streamable_http(workbench)


def test_only_a_result_counts() -> None:
    assert EndpointReply(200, {}, '{"id": 1, "result" : {}}').has_result
    assert not EndpointReply(400, {}, '{"id": 1, "result": {}}').has_result
    assert not EndpointReply(200, {}, '{"error": {"message": "no \\"result\\": here"}}').has_result
