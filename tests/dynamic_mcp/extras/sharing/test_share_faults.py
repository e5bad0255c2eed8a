"""``--share`` under bad conditions: processes killed in their start, closed streams, foreign sockets, wrong options."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conformance.workbench.mocks import StdioMockUpstream
from dynamic_mcp.extras.sharing import place
from tests.dynamic_mcp.extras.sharing.sessions import Shared, sharing
from tests.dynamic_mcp.helpers import WITHIN, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets for this"),
]

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


async def test_session_survives_the_death_of_a_process_in_its_start() -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a"))
        session = await shared.session(config)
        (starting,) = await eventually(
            lambda: psutil.Process(session.process.pid).children(), "the serving process"
        )
        starting.send_signal(signal.SIGKILL)
        await session.handshake()
        assert "result" in await session.call(1, "a")
        assert await shared.serving() != [starting.pid]
        await session.end()
        await shared.wait_until_over()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
async def test_closed_streams_are_ended_ones(closed: str) -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a"))
        status, stdout, stderr = await _shell(shared, config, closed)
        assert (status, stderr) == (0, b"")
        assert (b'"result":{}' in stdout) is (closed == "2>&-")
        await shared.wait_until_over()


async def _shell(shared: Shared, config: Path, closed: str) -> tuple[int | None, bytes, bytes]:
    """Run a session on a ping with closed streams; its exit status, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {closed}', "sh"),
        *(sys.executable, "-m", "dynamic_mcp", str(config), "--share", "--linger", "1s"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shared.environment,
        cwd=shared.bench.sandbox.cwd,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(PING), 3 * WITHIN)
    return process.returncode, stdout, stderr


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime folder with a short path, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


async def test_log_of_a_killed_process_is_not_lost(runtime: Path) -> None:
    async with sharing({"XDG_RUNTIME_DIR": str(runtime)}) as shared:
        config = shared.bench.config(shared.bench.stdio("a"))
        session = await (await shared.session(config)).handshake()
        (serving,) = await shared.serving()
        (log,) = place.own_folder(shared.environment).glob("*.log")
        with log.open("a") as file:
            file.write("a trace\n")
        os.kill(serving, signal.SIGKILL)
        assert (await session.request("p", "ping"))["id"] == "p"
        assert "a trace" in log.read_text()
        await session.end()


@pytest.mark.parametrize("answer", [{}, {"pid": 1}, {"pid": 1, "config": "x", "clients": [{}], "groups": []}])
async def test_status_names_a_socket_that_it_cannot_use(runtime: Path, answer: object) -> None:
    async with sharing({"XDG_RUNTIME_DIR": str(runtime)}) as shared:
        folder = place.own_folder(shared.environment)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "x.sock"))
            listening.listen()

            async def reply() -> None:
                connection, _ = await asyncio.to_thread(listening.accept)
                # An unread greeting would make the end of the connection a reset.
                await asyncio.to_thread(connection.recv, 4096)
                connection.sendall(json.dumps(answer).encode() + b"\n")
                connection.close()

            replying = asyncio.create_task(reply())
            assert await shared.status() == (1, [])
            assert "another program, listens" in shared.stderr
            assert "no proxy" not in shared.stderr
            await replying


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--linger", "5s"], "--linger needs --share"),
        (["--share", "--linger", "0"], "must be more than zero"),
        (["--share", "--linger", "soon"], "is not a duration"),
    ],
)
async def test_wrong_linger_is_refused(words: list[str], problem: str) -> None:
    async with sharing() as shared:
        await shared.run(str(shared.bench.config(shared.bench.stdio("a"))), *words)
        assert problem in shared.stderr


async def test_each_session_is_warned_about_the_configuration() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a").variant(env={"KEY": "${UNDEFINED_IN_THE_TEST}"})
        config = shared.bench.config(upstream)
        for _ in range(2):
            session = await (await shared.session(config)).handshake()
            assert await session.end() == 0
            assert b"UNDEFINED_IN_THE_TEST" in session.stderr


async def test_servers_start_in_the_folder_of_the_file_however_it_is_named(tmp_path: Path) -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a")
        config = shared.bench.config(upstream)
        link = tmp_path / "link.json"
        link.symlink_to(config)
        for path in (link, config):
            session = await (await shared.session(path)).handshake()
            await session.call(1, "a")
        assert [psutil.Process(pid).cwd() for pid in upstream.pids] == [str(config.parent)]


async def test_servers_start_after_the_target_of_the_link_was_replaced(tmp_path: Path) -> None:
    """As Kubernetes updates a mounted config map: a link to a folder changes, and the old folder disappears."""
    async with sharing() as shared:
        a, b = shared.bench.stdio("a"), shared.bench.stdio("b")

        def mount(version: str, *upstreams: StdioMockUpstream) -> None:
            (tmp_path / version).mkdir()
            shared.bench.save(tmp_path / version / "config.json", *upstreams)
            (tmp_path / "..new").symlink_to(version)
            (tmp_path / "..new").rename(tmp_path / "..data")

        mount("..1", a)
        config = tmp_path / "config.json"
        config.symlink_to("..data/config.json")
        session = await (await shared.session(config)).handshake()
        await session.call(1, "a")
        mount("..2", a, b)
        shutil.rmtree(tmp_path / "..1")
        answers = [await session.call("b0", "b")]
        async with asyncio.timeout(WITHIN):
            while "Unknown group" in str(answers[-1]):
                await asyncio.sleep(0.05)
                answers.append(await session.call(f"b{len(answers)}", "b"))

        assert answers[-1]["result"]["isError"] is False, answers[-1]
        assert psutil.Process(b.pids[0]).cwd() == str(tmp_path / "..2")
        assert len(a.pids) == 1, "an unchanged server does not restart"
        psutil.Process(a.pids[0]).kill()
        await eventually(lambda: len(a.pids) == 2, "the server starts again")
        assert psutil.Process(a.pids[1]).cwd() == str(tmp_path / "..2")

        other = await (await shared.session(config)).handshake()
        await other.call(1, "b")
        assert len(b.pids) == 1, "a new session joins the same process"


async def test_new_sessions_join_the_process_after_a_change_of_the_used_variables() -> None:
    async with sharing({"LATER": "value"}) as shared:
        upstream = shared.bench.stdio("a")
        config = shared.bench.config(upstream)
        first = await (await shared.session(config)).handshake()
        await first.call(1, "a")
        (before,) = await shared.serving()
        shared.bench.save(config, upstream.variant(env={"KEY": "${LATER}"}))
        second = await (await shared.session(config)).handshake()
        await second.call(1, "a")
        assert await shared.serving() == [before]
        psutil.Process(before).kill()
        await first.call(2, "a")
        await second.call(2, "a")
        assert len(await shared.serving()) == 1, "both sessions find the new place"


async def test_session_with_another_value_of_a_new_variable_has_its_own_process() -> None:
    async with sharing({"LATER": "value"}) as shared:
        upstream = shared.bench.stdio("a")
        config = shared.bench.config(upstream)
        await (await shared.session(config)).handshake()
        shared.bench.save(config, upstream.variant(env={"KEY": "${LATER}"}))
        await (await shared.session(config, LATER="another")).handshake()
        assert len(await shared.serving()) == 2


async def test_linger_takes_a_number_of_seconds() -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a"))
        session = await (await shared.session(config, linger="1")).handshake()
        assert await session.end() == 0
        await shared.wait_until_over()
