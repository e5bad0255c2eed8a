"""Two clients of different makers use one proxy over HTTP at once: the official SDKs for Python and for TypeScript."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client

from .programs import EVERYTHING, Mode, npm_server, text_of, tools_of, write_config

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).with_name("typescript_over_http.mjs")
PIPE = asyncio.subprocess.PIPE


@contextlib.asynccontextmanager
async def served(config: Path) -> AsyncIterator[str]:
    """Run `dynamic-mcp serve`; yields its URL. It ends in good order."""
    command = (sys.executable, "-m", "dynamic_mcp", "serve", str(config), "--listen", "127.0.0.1:0")
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    assert process.stderr is not None
    try:
        line = (await process.stderr.readline()).decode()
        assert "http://" in line, line
        yield line.split()[-1]
        process.terminate()
        assert await process.wait() == 128 + 15
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def typescript(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the client of the TypeScript SDK that came with the npm servers."""
    # Node looks for modules beside the program.
    program = folder / PROGRAM.name
    shutil.copy(PROGRAM, program)
    process = await asyncio.create_subprocess_exec("node", str(program), *arguments, stdout=PIPE)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_killed_client_hurts_no_client_of_another_maker(
    tmp_path: Path, npm_servers: Path, mode: Mode
) -> None:
    config = write_config(tmp_path, {"everything": npm_server(npm_servers, EVERYTHING)})
    heard: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    with anyio.fail_after(120):
        async with served(config) as url, Client(url, mode=mode) as client:
            slow = next(name for name in await tools_of(client, "everything") if "long" in name.lower())
            arguments = {"group": "everything", "name": slow, "args": {"duration": 4, "steps": 4}}
            async with (
                typescript(npm_servers, url, slow, "60") as killed,
                typescript(npm_servers, url, slow, "2") as other,
            ):
                assert killed.stdout is not None and other.stdout is not None
                assert (await killed.stdout.readline()).startswith(b"progress")
                calling = asyncio.ensure_future(
                    client.call_tool("call_dynamic_tool", arguments, progress_callback=note)
                )
                await asyncio.sleep(0.5)
                killed.kill()
                answer = await calling
                printed = (await other.stdout.read()).decode().splitlines()
                assert await other.wait() == 0
            again = await client.call_tool(
                "call_dynamic_tool", {"group": "everything", "name": "echo", "args": {"message": "still"}}
            )
            async with httpx.AsyncClient() as http:
                status = (await http.get(url.replace("/mcp", "/status"))).json()

    assert not answer.is_error
    # the progress of no other client: each step once
    assert heard == sorted(set(heard)) and len(heard) <= 4
    assert [line.partition(" ")[0] for line in printed][-1] == "result"
    assert "still" in text_of(again)
    assert len({group["pid"] for group in status["groups"]}) == 1
