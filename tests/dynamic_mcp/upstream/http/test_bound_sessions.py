"""Sessions that a server binds to the token with which they began: another token begins another session."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dynamic_mcp.errors import SignInMayHelp, SignInNeeded, UpstreamFailed, UpstreamGone
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.upstream.http import own_stream
from tests.dynamic_mcp.helpers import eventually
from tests.dynamic_mcp.upstream.http import test_legacy_sse as sse
from tests.dynamic_mcp.upstream.http.scripted_server import Request
from tests.dynamic_mcp.upstream.http.test_streamable import CALL, SESSION, Server, connected

REFUSALS = [(401, 'Bearer error="invalid_token"'), (401, ""), (403, 'Bearer error="invalid_token"')]


class Renewed:
    """The credentials of all servers: a token, and the next one after a refusal of the first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.token = "t0"
        #: the refused tokens
        self.refused: list[str | None] = []
        #: the kinds of requests that the server refused, perhaps because of their session
        self.noted: list[str] = []
        self.failure: UpstreamFailed = SignInMayHelp("it refuses the new token").with_remedy("Run: login")
        credentials = self

        async def bearer(self: Authorization) -> str:
            return credentials.token

        async def handle_refusal(
            self: Authorization, status: int, bearer: str | None, challenge: str, kind: str
        ) -> bool:
            credentials.refused.append(bearer)
            if bearer != "t0":
                raise credentials.failure.copy()
            credentials.token = "t1"
            return True

        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setattr(Authorization, "bearer", bearer)
        monkeypatch.setattr(Authorization, "handle_refusal", handle_refusal)
        monkeypatch.setattr(Authorization, "refused", lambda self, kind: credentials.noted.append(kind))


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Renewed:
    return Renewed(monkeypatch)


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


class Bound(Server):
    """A server that refuses these tokens, and every token in a session of another one."""

    def __init__(self, status: int = 401, challenge: str = "") -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.owners: dict[str, str] = {}
        self._refusal = status, challenge

    def by_default(self, request: Request) -> None:
        session, token = request.headers.get(SESSION), _token(request)
        is_foreign = session is not None and self.owners.get(session) != token
        if request.method == "POST" and (is_foreign or token in self.refused):
            status, challenge = self._refusal
            request.answer(status, **({"WWW_Authenticate": challenge} if challenge else {}))
            return
        super().by_default(request)
        if request.rpc == "initialize":
            self.owners[self.sessions[-1]] = token


@pytest.mark.parametrize(("status", "challenge"), REFUSALS)
@pytest.mark.parametrize("is_revoked", [False, True], ids=["renewed in time", "renewed after a refusal"])
async def test_renewed_token_begins_a_new_session(
    tmp_path: Path, credentials: Renewed, status: int, challenge: str, is_revoked: bool
) -> None:
    server = Bound(status, challenge)
    async with connected(tmp_path, server) as upstream:
        assert await upstream.call() == "a"
        if is_revoked:
            server.refused = {"t0"}
        else:
            credentials.token = "t1"
        names = [str(number) for number in range(4)]
        assert await asyncio.gather(*[upstream.call(name) for name in names]) == names
        assert upstream.events.new_sessions == 1
        assert list(server.owners.values()) == ["t0", "t1"]
        # No further renewal, which would not help.
        assert "t1" not in credentials.refused

        # The server has taken this token in this session, so the refusal is about the token.
        server.refused = {"t0", "t1"}
        with pytest.raises(UpstreamFailed, match="it refuses the new token"):
            await upstream.call()
        assert upstream.events.new_sessions == 1


async def test_token_that_works_in_the_session_of_another_leaves_it(
    tmp_path: Path, credentials: Renewed
) -> None:
    """One tool alone refuses the new token."""
    server = Server()

    async def refuse_new(request: Request) -> None:
        if _token(request) == "t1" and request.message["params"]["name"] == "odd":
            request.answer(401, b"for administrators")
        else:
            server.by_default(request)

    server.on[CALL] = refuse_new
    async with connected(tmp_path, server) as upstream:
        credentials.token = "t1"
        for _ in range(2):
            with pytest.raises(SignInMayHelp) as raised:
                await upstream.call("odd")
            assert (raised.value.last_output, raised.value.remedy) == ("for administrators", "Run: login")
        # Before the list that shows that the session goes on.
        assert credentials.noted == ["tools/call odd"]
        assert await upstream.call() == "a"
        assert (upstream.events.new_sessions, len(server.sessions)) == (0, 1)


class Outage(Bound):
    """The call "long" gets its answer after the others."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.on[CALL] = self.call

    async def call(self, request: Request) -> None:
        if request.message["params"]["name"] == "long":
            await self.go_on.wait()
            request.result({"name": "long"})
        else:
            self.by_default(request)


@pytest.mark.parametrize("is_bound", [True, False])
async def test_token_that_no_session_takes_ends_only_its_call(
    tmp_path: Path, credentials: Renewed, is_bound: bool
) -> None:
    """The server's check of tokens may be down, and the session goes on."""
    server = Outage()
    async with connected(tmp_path, server) as upstream:
        long = upstream.begin("long")
        await upstream.site.arrived(CALL)
        server.refused = {"t0", "t1"}
        for names in (["a"], ["b", "c", "d"]):
            for error in await asyncio.gather(*map(upstream.call, names), return_exceptions=True):
                assert isinstance(error, SignInMayHelp)
                assert error.remedy == "Run: login"
        server.go_on.set()
        assert await long == "long"
        server.refused, server.owners = set(), {"s0": "t0" if is_bound else "t1"}
        assert await upstream.call() == "a"
        assert upstream.events.new_sessions == len(server.sessions) - 1 == is_bound


async def test_sign_in_during_an_outage_ends_no_call(
    tmp_path: Path, credentials: Renewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Outage()

    async def sign_in(self: Authorization, need: SignInNeeded) -> None:
        credentials.token, server.owners["s0"] = "t2", "t2"

    monkeypatch.setattr(Authorization, "sign_in", sign_in)
    async with connected(tmp_path, server) as upstream:
        long = upstream.begin("long")
        await upstream.site.arrived(CALL)
        server.refused, credentials.failure = {"t0", "t1"}, SignInNeeded("it needs you to sign in")
        assert await upstream.call() == "a"
        server.go_on.set()
        assert await long == "long"
        assert server.sessions == ["s0"]


async def test_own_stream_opens_again_in_its_session_after_an_outage(
    tmp_path: Path, credentials: Renewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_stream, "RENEWAL_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(own_stream, "REOPEN_DELAY", 0.01)
    server, end = Bound(), asyncio.Event()

    async def listen(request: Request) -> None:
        if _token(request) in server.refused:
            request.answer(401)
            return
        request.begin()
        await end.wait()

    server.on["GET"] = listen
    async with connected(tmp_path, server) as upstream:
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream")
        server.refused, credentials.token = {"t0", "t1"}, "t1"
        end.set()
        await upstream.site.arrived("initialize", 3)
        end.clear()
        server.refused, server.owners = set(), {"s0": "t1"}
        await eventually(lambda: upstream.upstream.delivers_notifications, "the stream again")
        assert await upstream.call() == "a"
        assert server.sessions == ["s0"]


async def test_forgotten_session_ends_if_no_other_takes_the_token(
    tmp_path: Path, credentials: Renewed
) -> None:
    server = Bound()
    async with connected(tmp_path, server) as upstream:
        credentials.token = "t1"
        server.owners["s0"] = "t1"
        assert await upstream.call() == "a"
        server.sessions.append("forgotten")

        async def refuse(request: Request) -> None:
            request.answer(401)

        server.on["initialize"] = refuse
        with pytest.raises(UpstreamGone, match="no new session could be begun: it refuses the new token"):
            await upstream.call()
        assert (await upstream.upstream.wait_lost()).remedy == "Run: login"


class BoundStreams(sse.ForgetfulServer):
    """The same with HTTP+SSE."""

    async def __call__(self, request: Request) -> None:
        if request.method == "POST":
            session = int(request.target.partition("=")[2])
            if _token(request) != _token(self.streams[session - 1]):
                request.answer(401, WWW_Authenticate='Bearer error="invalid_token"')
                return
        await super().__call__(request)


async def test_renewed_token_begins_a_new_stream(tmp_path: Path, credentials: Renewed) -> None:
    server = BoundStreams()
    async with sse.connected(tmp_path, server) as upstream:
        await sse.call(upstream, "echo")
        credentials.token = "t1"
        await asyncio.gather(*[sse.call(upstream, "echo") for _ in range(3)])
    await eventually(lambda: len(server.ran) == 4, "each call ran once")
    assert server.ran == [("echo", 1), *[("echo", 2)] * 3]
    assert credentials.refused == []


class OutageOfStreams(sse.ForgetfulServer):
    """A server with HTTP+SSE that refuses these tokens. The call "silent" gets its answer from the test."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.silent: list[Request] = []

    async def __call__(self, request: Request) -> None:
        if _token(request) in self.refused:
            request.answer(401, WWW_Authenticate='Bearer error="invalid_token"')
            return
        if request.rpc == CALL and request.message["params"]["name"] == "silent":
            self.silent.append(request)
        await super().__call__(request)


async def test_token_that_no_stream_takes_ends_only_its_call(tmp_path: Path, credentials: Renewed) -> None:
    server = OutageOfStreams()
    async with sse.connected(tmp_path, server) as upstream:
        long = asyncio.create_task(sse.call(upstream, "silent"))
        await eventually(lambda: server.silent, "the long call")
        server.refused = {"t0", "t1"}
        for count in (1, 3):
            calls = [sse.call(upstream, "echo") for _ in range(count)]
            for error in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(error, SignInMayHelp)
                assert error.remedy == "Run: login"
        server.streams[0].event({"id": server.silent[0].id, "result": {"content": []}})
        assert await long == b'{"content": []}'
        server.refused = set()
        await sse.call(upstream, "echo")
    assert server.ran == [("silent", 1), ("echo", 1)]


async def test_one_tool_that_refuses_the_new_token_keeps_its_stream(
    tmp_path: Path, credentials: Renewed
) -> None:
    server = sse.ForgetfulServer(401, "")
    async with sse.connected(tmp_path, server) as upstream:
        credentials.token = "t1"
        with pytest.raises(SignInMayHelp):
            await sse.call(upstream, "odd")
        await sse.call(upstream, "echo")
    assert server.ran == [("echo", 1)]
