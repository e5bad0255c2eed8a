"""The client over Streamable HTTP: what an honest server gets, and how each fault of a server shows."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.errors import ImplementationCrashed, NotApplicable, Untestable, Violation
from conformance.model.client_table import ClientTable, Ready
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench.transports import listening, streamable
from conformance.workbench.transports.headers import session_headers
from conformance.workbench.workbench import open_workbench

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

LISTENER = Path(__file__).with_name("listener.py")
TABLE = ClientTable(transport="http", url="http://127.0.0.1:{port}/mcp")
#: the fake sends messages of no revision
ANY: dict[str, Any] = {"wire_types": False}


def bench(
    fault: str, table: ClientTable = TABLE, starts_within: float = 10.0
) -> AbstractAsyncContextManager[Workbench]:
    command = (sys.executable, "-I", str(LISTENER), "{port}", fault, "{config}")
    profile = Profile("fake", client=table, starts_within=starts_within)
    return open_workbench(Sut("fake", command, profile), "TEST", keep=False)


async def test_a_session_has_its_headers_and_ends_with_delete_and_the_signal() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        answer = await proxy.request("some/method", {"x": 1}, id="one")
        assert answer.result == {"of": "one"}
        await proxy.end()
        assert await proxy.wait_exit() == -15
    session = '"Mcp-Session-Id": "s-1", "MCP-Protocol-Version": "2025-11-25"'
    lines = [line for line in proxy.stderr.splitlines() if "listening" not in line]
    assert [line.split(" ")[0] for line in lines] == [
        "initialize", "notifications/initialized", "GET", "some/method", "DELETE",
    ]  # fmt: skip
    assert lines[0] == "initialize {}"
    assert all(session in line for line in lines[1:])


async def test_a_modern_request_repeats_its_body_in_headers() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as proxy:
        proxy.modern = True
        await proxy.request("tools/list", {})
        await proxy.request("tools/call", {"name": "echo", "arguments": {"place": "Zürich"}})
        await proxy.request("resources/read", {"uri": "mock://one"})
    lines = proxy.stderr.splitlines()
    assert '"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"' in lines[1]
    assert '"Mcp-Param-Place": "=?base64?WsO8cmljaA==?="' in lines[1]
    assert '"Mcp-Name": "mock://one"' in lines[2]
    assert not any("DELETE" in line or "GET" in line for line in lines)


async def test_a_modern_cancellation_closes_the_response_and_sends_nothing() -> None:
    async with bench("silent") as workbench, workbench.proxy(**ANY) as proxy:
        proxy.modern = True
        await proxy.begin("some/method", {}, id="long")
        await proxy.notify("notifications/cancelled", {"requestId": "long"})
        await proxy.request("tools/list", {})
    assert [line.split(" ")[0] for line in proxy.stderr.splitlines() if "listening" not in line] == [
        "some/method",
        "tools/list",
    ]


@pytest.mark.parametrize("ready", [Ready(path="/ready"), Ready(stdout=r"^listening on \d+$")])
async def test_the_profile_says_how_to_know_that_it_listens(ready: Ready) -> None:
    table = ClientTable(transport="http", url=TABLE.url, ready=ready)
    async with bench("none", table) as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()


async def test_the_headers_of_the_profile_also_go_to_the_path_of_readiness() -> None:
    headers = {"X-Key": "sesame"}
    table = ClientTable(transport="http", url=TABLE.url, ready=Ready(path="/ready"), headers=headers)
    async with bench("wants-a-key", table) as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()


async def test_the_reason_why_it_is_not_ready_is_named() -> None:
    table = ClientTable(transport="http", url=TABLE.url, ready=Ready(path="/ready"))
    async with bench("wants-a-key", table, starts_within=0.6) as workbench:
        with pytest.raises(Untestable, match="GET /ready has the status 401"):
            async with workbench.proxy(exit_within=0.5) as proxy:
                await proxy.handshake()


async def test_a_program_that_never_listens_is_untestable() -> None:
    async with bench("never-listens", starts_within=0.6) as workbench:
        with pytest.raises(Untestable, match=r"initialize.*listen.*Connect call failed"):
            async with workbench.proxy(exit_within=0.5) as proxy:
                await proxy.handshake()


async def test_a_cut_stream_is_resumed_after_its_last_event() -> None:
    async with bench("cuts") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        answer = await proxy.request("some/method", id="cut")
    assert answer.result == {"of": "cut"}
    assert "GET 1-1" in proxy.stderr


async def test_a_body_of_any_kind_gets_the_response_of_its_post() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        assert proxy.takes_bodies
        reply = await proxy.post_body(b'{"jsonrpc": "2.0", "id": "own", "method": "some/method"}')
        assert (reply.status, [one["id"] for one in reply.answers]) == (200, ["own"])
        assert not reply.refuses
        assert not proxy.received


async def test_a_stream_that_answers_a_body_is_resumed() -> None:
    async with bench("cuts") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        reply = await proxy.post_body(b'{"jsonrpc": "2.0", "id": "one", "method": "some/method"}')
        assert [message["result"] for message in reply.answers] == [{"of": "one"}]


async def test_a_version_that_no_header_can_have_is_not_sent() -> None:
    assert session_headers("s-1", "2025-11-25\r\nX-Other: 1") == {"Mcp-Session-Id": "s-1"}
    assert session_headers("\udcff", "2025-11-25\ud800") == {}


async def test_a_body_without_a_response_is_a_violation() -> None:
    async with bench("silent") as workbench, workbench.proxy(**ANY) as proxy:
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "some/method"}'
        with pytest.raises(Violation, match=r"within 0.5 s.*\n.*does not end"):
            await proxy.post_body(body, within=0.5)


async def test_an_error_without_an_id_answers_the_request_of_its_post() -> None:
    async with bench("refuses") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        answer = await proxy.request("some/method", id="refused")
    assert (answer.code, answer.message["id"]) == (-32600, "refused")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("loses", "ended without the answer"),
        ("html", "HTTP 502.*Bad Gateway"),
        ("result-with-500", "HTTP 500"),
        ("redirects", "HTTP 307.*Location: /elsewhere"),
        ("not-http", "the connection broke"),
        ("bad-chunks", "the connection broke"),
        ("huge-header", "the connection broke"),
        ("cut-body", "the connection broke"),
        ("strange-header", "HTTP 200"),
        ("silent", "none"),
    ],
)
async def test_a_request_without_an_answer_tells_what_came_instead(fault: str, seen: str) -> None:
    async with bench(fault) as workbench:
        with pytest.raises(Violation, match=f"(?s)an answer to some/method.*{seen}"):
            await _ask(workbench)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("another-id", "no answer to another request"),
        ("another-id-on-the-stream", "no answer to another request"),
        ("twice", "a second answer to some/method"),
        ("answers-notifications", "a second answer to initialize"),
    ],
)
async def test_what_makes_answers_doubtful_fails_every_check(fault: str, seen: str) -> None:
    async with bench(fault) as workbench:
        with pytest.raises(Violation, match=seen):
            await _ask(workbench, tolerant=True)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("none", ""),
        ("wrong-type", "application/json or text/event-stream answers some/method"),
        ("only-202", "application/json or text/event-stream answers some/method"),
        ("not-json", "the JSON body is the answer"),
        ("never-202", "202 Accepted without a body for notifications/initialized"),
        ("202-with-a-body", "202 Accepted without a body for notifications/initialized"),
        ("strange-session", "a session id of visible ASCII"),
        ("on-the-get-stream", "no answer on the GET stream"),
        ("refuses-with-another-id", "an error without an id, or with that of some/method"),
        ("no-405", "an event stream or 405 answers GET"),
    ],
)
async def test_another_broken_rule_of_the_transport_fails_one_check(fault: str, seen: str) -> None:
    async with bench(fault) as workbench, workbench.proxy(**ANY, exit_within=0.5) as proxy:
        await proxy.handshake()
        await _request(proxy, True, 1.0)
        expected = sorted({problem.expected for problem in proxy.deviations})
        assert [text for text in expected if seen not in text] == [] and bool(expected) == bool(seen)


async def test_the_client_takes_an_answer_with_another_content_type() -> None:
    async with bench("wrong-type") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        assert (await proxy.request("some/method", id="one")).result == {"of": "one"}


async def test_a_program_that_dies_during_a_request_has_crashed() -> None:
    async with bench("dies") as workbench:
        with pytest.raises(ImplementationCrashed, match="killed by SIGKILL"):
            await _ask(workbench)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["endless-body", "endless-comments", "endless-event"])
async def test_a_response_without_an_end_is_bounded(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (listening, streamable):
        monkeypatch.setattr(module, "MAX_RECEIVED", 1 << 20)
    began = time.monotonic()
    async with bench(fault) as workbench:
        with pytest.raises(Violation, match=r"a flood|an event of more than"):
            await _ask(workbench, within=20.0)
    assert time.monotonic() - began < 15


@pytest.mark.slow
async def test_a_program_that_ignores_its_signal_is_killed() -> None:
    async with bench("stubborn") as workbench, workbench.proxy(**ANY, exit_within=0.2) as proxy:
        await proxy.handshake()
    assert await proxy.wait_exit() == -9


async def test_what_only_stdio_has_is_not_applicable() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as proxy:
        await proxy.handshake()
        for step in (proxy.close_stdin, proxy.close_stdout, lambda: proxy.stdout, lambda: proxy.stdout_lines):
            with pytest.raises(NotApplicable, match="over Streamable HTTP"):
                step()
        for sending in (proxy.send_raw(b"x\n"), proxy.exchange("[]", 1, "a batch")):
            with pytest.raises(NotApplicable, match="over Streamable HTTP"):
                await sending


async def _ask(workbench: Workbench, *, tolerant: bool = False, within: float = 1.0) -> None:
    """A handshake and a request; if `tolerant`, only what the workbench judges afterwards counts."""
    async with workbench.proxy(**ANY, exit_within=0.5) as proxy:
        await proxy.handshake()
        await _request(proxy, tolerant, within)


async def _request(proxy: Proxy, tolerant: bool, within: float) -> None:
    try:
        await proxy.request("some/method", id="asked", within=within)
    except Violation:
        if not tolerant:
            raise
