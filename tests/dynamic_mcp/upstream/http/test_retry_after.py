"""Servers that ask to wait before the next request."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import HttpStatus
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.retry_after import seconds_of
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from tests.dynamic_mcp.helpers import WITHIN
from tests.dynamic_mcp.upstream.http.events import RecordedEvents
from tests.dynamic_mcp.upstream.http.scripted_server import Request, site

DATE = "Mon, 30 Nov 2026 23:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("20", None, 20.0),
        (" 0 ", None, 0.0),
        ("9" * 5000, None, 1e9),
        (DATE, "Mon, 30 Nov 2026 22:59:30 GMT", 30.0),
        (DATE, "Mon, 30 Nov 2026 23:00:30 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None, 0.0),
        ("Monday, 30-Nov-26 23:00:00 GMT", "Mon, 30 Nov 2026 22:59:30 GMT", 30.0),
        (None, None, 0.0),
        *(
            (value, None, 0.0)
            for value in ("", "-5", "1.5", "1e3", "soon", "\u0665", "Mon, 99 Nov 2026", "0" * 99 + "x")
        ),
    ],
)
def test_seconds_and_dates(value: str | None, date: str | None, seconds: float) -> None:
    assert seconds_of(value, date) == seconds


@pytest.mark.parametrize("date", [None, "never"])
def test_time_counts_from_now_without_a_date_of_the_reply(date: str | None) -> None:
    assert 50.0 < seconds_of(formatdate(time.time() + 60, usegmt=True), date) <= 60.0


@pytest.mark.parametrize("status", [429, 503])
async def test_start_ends_at_the_first_refusal_that_asks_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")

    async def refuse(request: Request) -> None:
        request.answer(status, b"slow down", Retry_After="20")

    async with site(refuse) as running:
        transport = RemoteTransport(Secret(running.url))
        client = HttpClient(running.url, {}, Authorization("a", transport, FileStore("a", tmp_path)))
        upstream = StreamableHttpUpstream(client, RecordedEvents())
        try:
            with pytest.raises(HttpStatus) as raised:
                await upstream.open(WITHIN)
        finally:
            await upstream.close()
    assert raised.value.retry_after == 20.0
    assert str(raised.value) == f"it answered with HTTP {status}, and asks to wait 20 s"
    assert [request.rpc for request in running.requests] == ["server/discover"]
