"""Which transport is spoken where the configuration leaves it open: when the older one is tried, and what is said if both fail."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from msgspec import Raw

from dynamic_mcp.config.model import HttpTransport, SseTransport
from dynamic_mcp.errors import HttpStatus, SignInNeeded, UpstreamError, UpstreamFailed, UpstreamGone
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.secret import Secret
from dynamic_mcp.upstream.base import Handshake, Options
from dynamic_mcp.upstream.http.connector import HttpConnector
from dynamic_mcp.upstream.http.detect import AutoDetect
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from tests.dynamic_mcp.fakes import FakeUpstream
from tests.dynamic_mcp.helpers import WITHIN


class Logged(FakeUpstream):
    """An upstream that keeps what it is asked for, in a log that two of them share."""

    def __init__(self, name: str, log: list[str], opening: UpstreamError | None = None) -> None:
        super().__init__(modern=name == "first")
        self.agreed = Handshake({name: Raw(b"{}")})
        self._name = name
        self._log = log
        self._opening = opening

    async def open(self, timeout: float, *, skip_probe: bool = False) -> None:
        self._log.append(f"{self._name} opens{', no probe' * skip_probe}")
        if self._opening is not None:
            raise self._opening

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        return self._name.encode()

    def notify(self, method: str, params: bytes = b"") -> None:
        self._log.append(f"{self._name} says {method}")

    async def lost(self) -> UpstreamGone:
        return UpstreamGone(self._name)

    def stderr_tail(self) -> str:
        return self._name

    def set_paused(self, paused: bool) -> None:
        self._log.append(f"{self._name} pauses {paused}")

    async def close(self) -> None:
        self._log.append(f"{self._name} closes")


class Pair:
    """A detection over two upstreams that open or fail to."""

    def __init__(self, first: UpstreamError | None, second: UpstreamError | None = None) -> None:
        self.log: list[str] = []
        self.detected = AutoDetect(
            Logged("first", self.log, first), lambda: Logged("second", self.log, second)
        )

    async def speaks_through(self, name: Literal["first", "second"]) -> None:
        """Everything goes to the upstream with this name."""
        detected = self.detected
        assert detected.agreed.capabilities == {name: Raw(b"{}")}
        assert detected.modern is (name == "first")
        assert await detected.request("m", b"{}", Options(None)) == name.encode()
        assert str(await detected.lost()) == name
        assert detected.stderr_tail() == name
        self.log.clear()
        detected.notify("n")
        detected.set_paused(True)
        await detected.close()
        assert self.log == [f"{name} says n", f"{name} pauses True", f"{name} closes"]


def status(number: int) -> HttpStatus:
    return HttpStatus(f"HTTP {number}", status=number)


async def test_what_opens_is_kept() -> None:
    pair = Pair(None)

    await pair.detected.open(WITHIN, skip_probe=True)

    assert pair.log == ["first opens, no probe"]
    await pair.speaks_through("first")


@pytest.mark.parametrize("number", [400, 404, 405])
async def test_a_refusal_leads_to_the_older_transport_once_the_first_is_closed(number: int) -> None:
    pair = Pair(status(number))

    await pair.detected.open(WITHIN)

    assert pair.log == ["first opens", "first closes", "second opens"]
    await pair.speaks_through("second")


@pytest.mark.parametrize(
    "failure",
    [
        *(status(number) for number in (301, 401, 403, 406, 429, 500, 503)),
        SignInNeeded("sign in"),
        UpstreamGone("gone"),
        UpstreamFailed("failed"),
    ],
    ids=str,
)
async def test_another_failure_says_nothing_about_the_transport(failure: UpstreamError) -> None:
    pair = Pair(failure)

    with pytest.raises(type(failure)) as raised:
        await pair.detected.open(WITHIN)

    assert raised.value is failure
    assert pair.log == ["first opens"]
    await pair.detected.close()
    assert pair.log[1:] == ["first closes"]


async def test_where_there_is_no_stream_either_the_first_refusal_is_told() -> None:
    refusal = status(404)
    pair = Pair(refusal, status(405))

    with pytest.raises(HttpStatus) as raised:
        await pair.detected.open(WITHIN)

    assert raised.value is refusal
    await pair.detected.close()
    assert pair.log[-1] == "second closes"


@pytest.mark.parametrize(
    "failure", [UpstreamFailed("its endpoint is not an address"), SignInNeeded("sign in")], ids=str
)
async def test_where_there_is_a_stream_its_own_failure_is_told(failure: UpstreamFailed) -> None:
    pair = Pair(status(405), failure)

    with pytest.raises(type(failure)) as raised:
        await pair.detected.open(WITHIN)

    assert raised.value is failure


class NullEvents:
    """Hears nothing."""

    def capabilities(self) -> bytes:
        return b"{}"

    def on_notification(self, message: Message) -> None:
        return None

    async def on_request(self, message: Message) -> bytes:
        return b"{}"


@pytest.mark.parametrize(
    ("transport", "kind"),
    [
        (HttpTransport(Secret("http://a/"), (), True, None, ()), AutoDetect),
        (HttpTransport(Secret("http://a/"), (), False, None, ()), StreamableHttpUpstream),
        (SseTransport(Secret("http://a/"), (), None, ()), SseUpstream),
    ],
    ids=["open", "http", "sse"],
)
async def test_only_an_entry_without_a_type_leaves_the_transport_open(
    transport: HttpTransport | SseTransport, kind: type[object]
) -> None:
    connector = HttpConnector(transport, Authorization("a", transport))
    one, other = connector.connect(NullEvents()), connector.connect(NullEvents())

    assert type(one) is kind
    assert one is not other
    async with asyncio.timeout(WITHIN):
        for upstream in (one, other):
            await upstream.close()
            # However often, and though it was never opened.
            await upstream.close()
