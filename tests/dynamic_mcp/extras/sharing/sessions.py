"""Sessions of clients with ``--share``, as real processes in a sandbox."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from conformance.model.sut import make_sut
from conformance.workbench.workbench import Workbench, open_workbench
from dynamic_mcp.extras.sharing.place import GREETING
from dynamic_mcp.frontend.tool_surface import CALL
from tests.dynamic_mcp.helpers import WITHIN, eventually, is_alive


class Session:
    """One client and its attached end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        #: every message to the client
        self.got: list[dict[str, Any]] = []
        self.stderr = b""
        self._reading = [asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())]

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.got.append(json.loads(line))

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(4096):
            self.stderr += data

    def send(self, **message: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def answer(self, id: object) -> dict[str, Any]:
        found = await eventually(
            lambda: [m for m in self.got if m.get("id") == id and "method" not in m], f"an answer to {id!r}"
        )
        return found[0]

    async def request(self, id: object, method: str, **params: object) -> dict[str, Any]:
        self.send(id=id, method=method, params=params)
        return await self.answer(id)

    async def handshake(self, **capabilities: object) -> Session:
        info = {"name": "a-test", "version": "1"}
        await self.request(
            "hello", "initialize", protocolVersion="2025-11-25", capabilities=capabilities, clientInfo=info
        )
        self.send(method="notifications/initialized")
        return self

    def begin_call(self, id: object, group: str, tool: str = "echo", **args: object) -> None:
        arguments = {"group": group, "name": tool, "args": args}
        self.send(id=id, method="tools/call", params={"name": CALL, "arguments": arguments})

    async def call(self, id: object, group: str, tool: str = "echo", **args: object) -> dict[str, Any]:
        self.begin_call(id, group, tool, **args)
        return await self.answer(id)

    def stop_reading(self) -> None:
        """Read nothing more from the attached end."""
        for task in self._reading:
            task.cancel()

    async def end(self) -> int:
        """Close stdin; the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; the exit status."""
        status = await asyncio.wait_for(self.process.wait(), WITHIN)
        await asyncio.wait_for(asyncio.gather(*self._reading, return_exceptions=True), WITHIN)
        return status


class Shared:
    """Sessions of one configuration, and the processes that serve them."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.sessions: list[Session] = []
        #: of the last command
        self.stderr = ""
        self.environment = bench.sandbox.environment(bench.sandbox.token)

    async def session(
        self, config: Path, *, linger: str = "1s", cwd: Path | None = None, **variables: str
    ) -> Session:
        """Start an attached end. It has no handshake yet."""
        command = [sys.executable, "-m", "dynamic_mcp", str(config), "--share", "--linger", linger]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**self.environment, **variables},
            cwd=cwd or self.bench.sandbox.cwd,
            limit=1 << 26,
        )
        self.sessions.append(Session(process))
        return self.sessions[-1]

    async def status(self, *words: str) -> tuple[int | None, Any]:
        """The exit status and the reports of ``status --json``."""
        process, stdout = await self._run("status", "--json", *words)
        return process.returncode, json.loads(stdout)

    async def run(self, *words: str) -> str:
        """What a command prints."""
        _, stdout = await self._run(*words)
        return stdout.decode()

    async def _run(self, *words: str) -> tuple[asyncio.subprocess.Process, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dynamic_mcp", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        stdout, stderr = await asyncio.wait_for(process.communicate(), 3 * WITHIN)
        self.stderr = stderr.decode()
        return process, stdout

    async def serving(self) -> list[int]:
        """The pids of the serving processes."""
        return [report["pid"] for report in (await self.status())[1]]

    def processes(self) -> list[psutil.Process]:
        """Every process of the sandbox."""
        return [process for process in psutil.process_iter() if _is_of(process, self.bench.sandbox.token)]

    async def wait_until_over(self) -> None:
        """Wait until no process of the sandbox is left.

        An attached end can start another serving process just before it is killed. On Linux that one notices it; elsewhere it waits
        `GREETING` for a client.
        """
        within = WITHIN if sys.platform == "linux" else GREETING + WITHIN
        await eventually(lambda: not self.processes(), "no process is left", within)

    async def close(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for session in self.sessions:
            with suppress(Exception):
                await session.ended()


def _is_of(process: psutil.Process, token: str) -> bool:
    try:
        return token in process.environ().values() and is_alive(process.pid)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


@asynccontextmanager
async def sharing(variables: Mapping[str, str] = {}) -> AsyncIterator[Shared]:
    """Sessions in a sandbox of their own. Afterwards none of their processes is alive."""
    async with open_workbench(make_sut(), "TEST", keep=False) as bench:
        shared = Shared(bench)
        shared.environment.update(variables)
        try:
            yield shared
        finally:
            await shared.close()
