"""Detection of the HTTP transport: when the proxy tries HTTP+SSE, and which error it raises if both fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import pytest
from msgspec import Raw

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import HttpStatus, SignInNeeded, UpstreamError, UpstreamFailed, UpstreamGone
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.secret import Secret
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.upstream.base import Handshake
from dynamic_mcp.upstream.http.connector import HttpConnector
from dynamic_mcp.upstream.http.detect import AutoDetect
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from dynamic_mcp.upstream.http.reply_stream import SpeaksHttpSse
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from tests.dynamic_mcp.fakes import FakeUpstream
from tests.dynamic_mcp.helpers import WITHIN


class LoggedUpstream(FakeUpstream):
    """An upstream that records its calls in a log that two upstreams share."""

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

    def learn_tool(self, name: str, definition: Raw) -> str:
        return ""

    def notify(self, method: str, params: bytes = b"") -> None:
        self._log.append(f"{self._name} notifies {method}")

    async def wait_lost(self) -> UpstreamGone:
        return UpstreamGone(self._name)

    def stderr_tail(self) -> str:
        return self._name

    def set_paused(self, paused: bool) -> None:
        self._log.append(f"{self._name} pauses {paused}")

    async def close(self) -> None:
        self._log.append(f"{self._name} closes")


class TwoTransports:
    """Detection between two upstreams, each of which opens or fails."""

    def __init__(self, first: UpstreamError | None, second: UpstreamError | None = None) -> None:
        self.log: list[str] = []
        self.detected = AutoDetect(
            LoggedUpstream("first", self.log, first), lambda: LoggedUpstream("second", self.log, second)
        )

    async def uses(self, name: Literal["first", "second"]) -> None:
        """Check that everything goes to the upstream with this name."""
        detected = self.detected
        assert detected.agreed.capabilities == {name: Raw(b"{}")}
        assert detected.modern is (name == "first")
        assert await detected.request("m", b"{}", Options(None)) == name.encode()
        assert str(await detected.wait_lost()) == name
        assert detected.stderr_tail() == name
        self.log.clear()
        detected.notify("n")
        detected.set_paused(True)
        await detected.close()
        assert self.log == [f"{name} notifies n", f"{name} pauses True", f"{name} closes"]


def status(number: int) -> HttpStatus:
    return HttpStatus(f"HTTP {number}", status=number)


async def test_streamable_http_is_kept_if_it_opens() -> None:
    pair = TwoTransports(None)

    await pair.detected.open(WITHIN, skip_probe=True)

    assert pair.log == ["first opens, no probe"]
    await pair.uses("first")


@pytest.mark.parametrize("number", [400, 404, 405])
async def test_refusal_leads_to_sse_after_closing_the_first(number: int) -> None:
    pair = TwoTransports(status(number))

    await pair.detected.open(WITHIN)

    assert pair.log == ["first opens", "first closes", "second opens"]
    await pair.uses("second")


async def test_the_stream_of_http_sse_as_the_answer_leads_to_sse() -> None:
    pair = TwoTransports(SpeaksHttpSse("its url is that of an HTTP+SSE server"))

    await pair.detected.open(WITHIN)

    assert pair.log == ["first opens", "first closes", "second opens"]
    await pair.uses("second")


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
async def test_other_failures_do_not_try_sse(failure: UpstreamError) -> None:
    pair = TwoTransports(failure)

    with pytest.raises(type(failure)) as raised:
        await pair.detected.open(WITHIN)

    assert raised.value is failure
    assert pair.log == ["first opens"]
    await pair.detected.close()
    assert pair.log[1:] == ["first closes"]


async def test_first_refusal_is_raised_if_sse_is_refused_too() -> None:
    refusal = status(404)
    pair = TwoTransports(refusal, status(405))

    with pytest.raises(HttpStatus) as raised:
        await pair.detected.open(WITHIN)

    assert raised.value is refusal
    await pair.detected.close()
    assert pair.log[-1] == "second closes"


@pytest.mark.parametrize(
    "failure", [UpstreamFailed("its endpoint is not an address"), SignInNeeded("sign in")], ids=str
)
async def test_failure_of_an_open_sse_stream_is_raised(failure: UpstreamFailed) -> None:
    pair = TwoTransports(status(405), failure)

    with pytest.raises(type(failure)) as raised:
        await pair.detected.open(WITHIN)

    assert raised.value is failure


class NullEvents:
    """Ignores everything."""

    def capabilities(self) -> bytes:
        return b"{}"

    def client_info(self) -> bytes:
        return b""

    def on_notification(self, message: Message) -> None:
        return None

    async def on_request(self, message: Message, callers: Sequence[object]) -> bytes:
        return b"{}"

    def on_sign_in(self, page: SignInPage) -> bool:
        return False

    def on_new_session(self) -> None:
        return None

    def on_stream_open(self) -> None:
        return None

    def on_oddity(self, what: str) -> None:
        return None


@pytest.mark.parametrize(
    ("transport", "kind"),
    [
        (RemoteTransport(Secret("http://a/")), AutoDetect),
        (RemoteTransport(Secret("http://a/"), kind="http"), StreamableHttpUpstream),
        (RemoteTransport(Secret("http://a/"), kind="sse"), SseUpstream),
    ],
    ids=["open", "http", "sse"],
)
async def test_only_an_entry_without_a_type_detects_the_transport(
    transport: RemoteTransport, kind: type[object]
) -> None:
    connector = HttpConnector(transport, Authorization("a", transport, FileStore("a")))
    one, other = connector.connect(NullEvents()), connector.connect(NullEvents())

    assert type(one) is kind
    assert one is not other
    async with asyncio.timeout(WITHIN):
        for upstream in (one, other):
            await upstream.close()
            # A second close does nothing, even without an open.
            await upstream.close()
