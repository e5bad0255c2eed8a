"""A client on stdio in front of a proxy over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dynamic_mcp.extras.serving.limits import ServingLimits
from tests.dynamic_mcp.extras.serving.door import (
    Http,
    call,
    modern,
    modern_call,
    notification,
    request,
    serving,
)
from tests.dynamic_mcp.helpers import WITHIN, eventually

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"sampling": {}},
    "clientInfo": {"name": "c", "version": "1"},
}


class Stdio:
    """A client of ``connect``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.got: list[dict[str, Any]] = []
        #: what the process wrote to stderr
        self.errors = ""

    def send(self, message: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.got.append(json.loads(line))

    async def read_errors(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.errors += line.decode()

    async def message(self, **members: object) -> dict[str, Any]:
        """The first message with these members."""

        def found() -> list[dict[str, Any]]:
            return [one for one in self.got if members.items() <= one.items()]

        return (await eventually(found, f"a message with {members}"))[0]

    async def handshake(self, version: str = "2025-11-25") -> None:
        self.send(request("initialize", {**HELLO, "protocolVersion": version}, id="hello"))
        await self.message(id="hello")
        self.send(notification("notifications/initialized"))
        self.send(request("logging/setLevel", {"level": "error"}, id="level"))
        await self.message(id="level")


@asynccontextmanager
async def connected(url: str, *options: str) -> AsyncIterator[Stdio]:
    """Run ``connect`` until the end of the context."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dynamic_mcp", "connect", url, *options),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        limit=1 << 24,
    )
    stdio = Stdio(process)
    reading = asyncio.gather(stdio.read(), stdio.read_errors())
    try:
        yield stdio
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), WITHIN) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


async def forget_sessions(http: Http) -> None:
    """Let the proxy forget every session, as a restart does."""
    assert http.door._app is not None
    sessions = http.door._app.sessions
    for session in list(sessions._sessions.values()):
        await sessions.end(session)


async def test_an_error_about_a_malformed_answer_has_no_id() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send({"jsonrpc": "2.0", "id": "level"})
        assert "error" in await stdio.message(id=None)


async def test_call_progress_question_and_announcement_pass() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(call(id="\u00e4", meta={"progressToken": 5}))
        (sent,) = await http.proxy.calls(1)
        (shared,) = http.proxy.servers
        token = sent["params"]["_meta"]["progressToken"]
        shared.send(method="notifications/progress", params={"progressToken": token, "progress": 1})
        assert (await stdio.message(method="notifications/progress"))["params"]["progressToken"] == 5
        asked = asyncio.ensure_future(shared.asks("q", "why"))
        question = await stdio.message(method="sampling/createMessage")
        sample = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "so"}}
        stdio.send({"jsonrpc": "2.0", "id": question["id"], "result": sample})
        assert (await asked)["result"]["model"] == "m"
        shared.answer(sent, {"content": []})
        assert (await stdio.message(id="\u00e4"))["result"]["content"] == []
        shared.send(method="notifications/message", params={"level": "error", "data": "oh"})
        assert (await stdio.message(method="notifications/message"))["params"]["data"] == "oh"


async def test_end_of_the_client_ends_its_session() -> None:
    async with serving() as http:
        async with connected(http.url) as stdio:
            await stdio.handshake()
            assert len(http.proxy.clients.open_clients) == 1
        await eventually(lambda: not http.proxy.clients.open_clients, "the end of the session")


async def test_modern_requests_pass_and_a_cancelled_one_ends_at_the_server() -> None:
    async with serving() as http, connected(http.url) as stdio:
        stdio.send(modern("server/discover", id=1)[0])
        assert (await stdio.message(id=1))["result"]["supportedVersions"] == ["2026-07-28"]
        for id in (2, 3):
            stdio.send(modern_call(id=id)[0])
        first, second = await http.proxy.calls(2)
        stdio.send(notification("notifications/cancelled", {"requestId": 2}))
        (shared,) = http.proxy.servers
        (cancelled,) = await eventually(lambda: shared.requests("notifications/cancelled"), "one")
        rest = second if cancelled["params"]["requestId"] == first["id"] else first
        shared.answer(rest, {"content": []})
        assert (await stdio.message(id=3))["result"]
        stdio.send(modern("nonsense", id=4)[0])
        assert (await stdio.message(id=4))["error"]["code"] == -32601
        assert not [one for one in stdio.got if one.get("id") == 2]


@pytest.mark.slow
async def test_cancelled_call_gets_no_answer() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(call(id=9))
        await http.proxy.calls(1)
        stdio.send(notification("notifications/cancelled", {"requestId": 9}))
        (shared,) = http.proxy.servers
        await eventually(lambda: shared.requests("notifications/cancelled"), "a cancellation")
        stdio.send(request("ping", id=10))
        await stdio.message(id=10)
        assert not [one for one in stdio.got if one.get("id") == 9]


@pytest.mark.slow
async def test_lost_session_is_made_anew_and_calls_go_on() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        await forget_sessions(http)
        stdio.send(call(id=1))
        stdio.send(call(id=2))
        for sent in await http.proxy.calls(2):
            http.proxy.servers[0].answer(sent, {"content": []})
        assert (await stdio.message(id=1))["result"]
        assert (await stdio.message(id=2))["result"]
        (client,) = http.proxy.clients.open_clients.values()
        assert (client.session.version, client.session.level) == ("2025-11-25", "error")
        http.proxy.servers[0].send(method="notifications/message", params={"level": "error", "data": "new"})
        assert (await stdio.message(method="notifications/message"))["params"]["data"] == "new"
        assert len([one for one in stdio.got if one.get("id") == "hello"]) == 1


@pytest.mark.slow
async def test_call_on_its_way_at_the_end_of_the_proxy_says_so() -> None:
    async with serving(limits=ServingLimits(patience=0.01)) as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(call(id=1))
        await http.proxy.calls(1)
        await forget_sessions(http)
        error = (await stdio.message(id=1))["error"]
        assert "may have been carried out" in error["message"]
        await http.door.close()
        stdio.send(call(id=2))
        message = (await stdio.message(id=2))["error"]["message"]
        assert "could not be reached" in message
        assert "was not carried out" in message


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
@pytest.mark.parametrize("patience", [0.01, 30.0])
async def test_end_of_the_session_fails_its_calls_and_no_other(version: str, patience: float) -> None:
    async with serving(limits=ServingLimits(patience=patience)) as http, connected(http.url) as stdio:
        await stdio.handshake(version)
        for id in range(3):
            stdio.send(call(id=id))
        await http.proxy.calls(3)
        await asyncio.sleep(0.1)
        await forget_sessions(http)
        # This one belongs to the next session, where the events have the ids of the old one.
        stdio.send(call(id="later"))
        for id in range(3):
            assert "may have been carried out" in (await stdio.message(id=id))["error"]["message"]
        (*_, later) = await http.proxy.calls(4)
        http.proxy.servers[0].answer(later, {"content": []})
        assert "result" in await stdio.message(id="later")
        assert len([one for one in stdio.got if one.get("id") in (0, 1, 2, "later")]) == 4
    assert stdio.errors.count("tools/call has no answer") == 1
    assert "2 more of this: the connection to the proxy was lost" in stdio.errors
    assert stdio.errors.count("a new one begins") == 1


@pytest.mark.slow
async def test_session_that_ends_without_a_request_begins_again() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(request("resources/list", id=1))
        await stdio.message(id=1)
        await forget_sessions(http)
        await eventually(lambda: http.proxy.clients.open_clients, "a new session")
        (client,) = http.proxy.clients.open_clients.values()
        await eventually(lambda: client.session.level == "error", "the log level")
        stdio.send(request("resources/list", id=2))
        await stdio.message(id=2)
        http.proxy.servers[0].send(method="notifications/message", params={"level": "error", "data": "new"})
        assert (await stdio.message(method="notifications/message"))["params"]["data"] == "new"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2025-03-26", "2025-11-25"])
async def test_messages_right_after_initialize_wait_for_the_session(version: str) -> None:
    async with serving() as http, connected(http.url) as stdio:
        stdio.send(request("initialize", {**HELLO, "protocolVersion": version}, id="hello"))
        stdio.send(notification("notifications/initialized"))
        stdio.send(request("logging/setLevel", {"level": "error"}, id="level"))
        for id in (1, 2):
            stdio.send(call(id=id))
        # A request that is cancelled before it could go out does not go out.
        stdio.send(call(id=3))
        stdio.send(notification("notifications/cancelled", {"requestId": 3}))
        assert stdio.process.stdin is not None
        stdio.process.stdin.close()
        for sent in await http.proxy.calls(2):
            http.proxy.servers[0].answer(sent, {"content": []})
        for answered in ("hello", "level", 1, 2):
            assert "result" in await stdio.message(id=answered)
        await asyncio.wait_for(stdio.process.wait(), WITHIN)
        assert len(http.proxy.servers[0].requests("tools/call")) == 2
    assert stdio.errors == ""


@pytest.mark.slow
async def test_call_without_an_answer_at_the_end_of_input_gets_an_error() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(call(id=1))
        await http.proxy.calls(1)
        assert stdio.process.stdin is not None
        stdio.process.stdin.close()
        assert "may have been carried out" in (await stdio.message(id=1))["error"]["message"]


async def test_address_without_a_program_says_that_the_call_did_not_run() -> None:
    async with connected("http://127.0.0.1:9/mcp") as stdio:
        stdio.send(request("initialize", HELLO, id=1))
        message = (await stdio.message(id=1))["error"]["message"]
    assert "was not carried out" in message
    assert "may have been" not in message
    assert "dynamic-mcp serve" in message


async def test_requests_while_the_proxy_is_down_are_one_line_and_their_number() -> None:
    async with connected("http://127.0.0.1:9/mcp") as stdio:
        stdio.send(request("initialize", HELLO, id="hello"))
        await stdio.message(id="hello")
        for id in range(20):
            stdio.send(call(id=id))
        for id in range(20):
            assert "could not be reached" in (await stdio.message(id=id))["error"]["message"]
    lines = [line.partition(" WARN ")[2] for line in stdio.errors.splitlines() if "could not be" in line]
    reason = lines[0].removeprefix("initialize has no answer: ")
    assert lines[1:] == [f"20 more of this: {reason}"]


@pytest.mark.parametrize("text", ["wrong-token-wrong-token", None])
async def test_wrong_or_missing_token_is_an_error_that_says_what_to_do(
    text: str | None, tmp_path: Any
) -> None:
    file = tmp_path / "token"
    file.write_text(text or "")
    file.chmod(0o600)
    options = ("--token-file", str(file)) if text else ()
    async with serving(token="right-token-right-token") as http, connected(http.url, *options) as stdio:
        stdio.send(request("initialize", HELLO, id=1))
        error = (await stdio.message(id=1))["error"]
        stdio.send(notification("notifications/initialized"))
        stdio.send(request("ping", id=2))
        await stdio.message(id=2)
    assert "--token-file" in error["message"]
    assert "headers" not in stdio.errors
    assert "right-token" not in error["message"]


async def test_wrong_address_and_invalid_lines_are_errors() -> None:
    async with serving() as http, connected(http.url.replace("/mcp", "/other")) as stdio:
        stdio.send(request("initialize", HELLO, id=1))
        assert "/mcp" in (await stdio.message(id=1))["error"]["message"]
        assert stdio.process.stdin is not None
        stdio.process.stdin.write(b"{nonsense\n")
        assert (await stdio.message(id=None))["error"]["code"] == -32700


async def test_large_messages_pass_both_ways() -> None:
    text = "x" * (3 << 20)
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        message = call(id=1)
        message["params"]["arguments"]["args"] = {"text": text}  # type: ignore[index]
        stdio.send(message)
        (sent,) = await http.proxy.calls(1)
        assert sent["params"]["arguments"] == {"text": text}
        http.proxy.servers[0].answer(sent, {"content": [{"type": "text", "text": text}]})
        assert (await stdio.message(id=1))["result"]["content"][0]["text"] == text
