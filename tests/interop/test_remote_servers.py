"""The official SDK client drives the proxy in front of third-party servers behind a URL: every transport, both eras."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from .programs import EVERYTHING, Mode, call, npm_program, proxy, text_of, tools_of, write_config

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

WITHIN = 60
SDK = {
    "modern-sse": [],
    "modern-json": ["--json"],
    "sessions-sse": ["--legacy"],
    "sessions-json": ["--legacy", "--json"],
    "stateless-sse": ["--legacy", "--stateless"],
    "stateless-json": ["--legacy", "--stateless", "--json"],
    "old-transport": ["--sse"],
}


@pytest.fixture(autouse=True)
def no_proxy_to_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server; the end of the block kills it."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass(frozen=True)
class SdkServer:
    """A running server of the SDK: its kind, one of `SDK`, and its URL."""

    kind: str
    url: str


@pytest.fixture(scope="module", params=SDK)
def sdk(request: pytest.FixtureRequest) -> Iterator[SdkServer]:
    """One server for all tests of its kind, because its imports take a second of processor time. Each test has its own proxy."""
    kind: str = request.param
    program = Path(__file__).with_name("sdk_server.py")
    with running([sys.executable, str(program), *SDK[kind]]) as process:
        assert process.stdout is not None
        yield SdkServer(kind, process.stdout.readline().strip())


@contextmanager
def everything(folder: Path, transport: str) -> Iterator[str]:
    """Run the reference server from npm, which needs a port, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running([npm_program(folder, EVERYTHING), transport], PORT=str(port)):
        deadline = time.monotonic() + WITHIN
        while True:
            try:
                socket.create_connection(("localhost", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.05)
        yield f"http://localhost:{port}/{'sse' if transport == 'sse' else 'mcp'}"


def entry(url: str, **more: str) -> dict[str, Any]:
    return {"description": "A server behind a URL", "url": url, **more}


async def test_sdk_server_lists_answers_reports_progress_and_fails(
    tmp_path: Path, sdk: SdkServer, mode: Mode
) -> None:
    reported: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.append(progress)

    with anyio.fail_after(WITHIN):
        async with proxy(write_config(tmp_path, {"sdk": entry(sdk.url)}), mode) as client:
            assert await tools_of(client, "sdk") == ["greet", "count", "wait", "fail"]
            assert await call(client, "sdk", "greet", {"name": "Wörld"}) == "Grüße, Wörld"
            assert await call(client, "sdk", "count", {"to": 3}, progress_callback=report) == "counted to 3"
            failed = await client.call_tool("call_dynamic_tool", {"group": "sdk", "name": "fail", "args": {}})
            assert failed.is_error
            assert "fail" in text_of(failed)
    # A JSON answer cannot carry progress.
    assert reported in ([1, 2, 3], []) if "json" in sdk.kind else reported == [1, 2, 3]


async def test_parallel_calls_get_their_own_answers(tmp_path: Path, sdk: SdkServer) -> None:
    answers: dict[int, str] = {}

    async def greet(client: Client, n: int) -> None:
        answers[n] = await call(client, "sdk", "greet", {"name": str(n)})

    with anyio.fail_after(WITHIN):
        async with proxy(write_config(tmp_path, {"sdk": entry(sdk.url)}), "auto") as client:
            await tools_of(client, "sdk")
            async with anyio.create_task_group() as group:
                for n in range(50):
                    group.start_soon(greet, client, n)

    assert answers == {n: f"Grüße, {n}" for n in range(50)}


async def test_server_works_after_a_cancelled_call(tmp_path: Path, sdk: SdkServer) -> None:
    with anyio.fail_after(WITHIN):
        async with proxy(write_config(tmp_path, {"sdk": entry(sdk.url)}), "auto") as client:
            await tools_of(client, "sdk")
            with anyio.move_on_after(0.5) as cancelled:
                await call(client, "sdk", "wait", {"seconds": 30})
            assert cancelled.cancelled_caught
            assert await call(client, "sdk", "wait", {"seconds": 0}) == "waited"


@pytest.mark.parametrize("transport", ["streamableHttp", "sse"])
async def test_npm_reference_server_works_over_http(
    tmp_path: Path, npm_servers: Path, transport: str, mode: Mode
) -> None:
    with everything(npm_servers, transport) as url, anyio.fail_after(WITHIN):
        async with proxy(write_config(tmp_path, {"everything": entry(url)}), mode) as client:
            assert "echo" in await tools_of(client, "everything")
            assert "héllo" in await call(client, "everything", "echo", {"message": "héllo"})
            assert re.search(r"\b5\b", await call(client, "everything", "get-sum", {"a": 2, "b": 3}))
