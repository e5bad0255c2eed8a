"""A forked mock is a process like a started one: with its own pipes, status and environment, and it ends for certain."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from conformance.errors import HarnessError
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench import processes, remotes
from conformance.workbench.census import Census, adopt_orphans
from conformance.workbench.forkserver import ForkedMock, ForkServer
from conformance.workbench.workbench import open_workbench
from mock_servers.commands import MAIN
from mock_servers.journal import read_journal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a subreaper")

NOT_STARTED = Sut("not-started", (sys.executable, "-c", "pass", "{config}"), Profile("not-started"))


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    assert adopt_orphans()
    made = ForkServer()
    yield made
    made.close()


def command(*options: str) -> list[str]:
    return [sys.executable, "-I", str(MAIN), "http", *options]


def first_line(mock: ForkedMock) -> bytes:
    _, stdout, _ = mock.streams
    return os.read(stdout, 1 << 16)


def end_of(mock: ForkedMock) -> int:
    """Close our ends and wait for the exit status."""
    for descriptor in mock.streams:
        os.close(descriptor)
    deadline = time.monotonic() + 5
    while (code := mock.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def wait_until_collected(census: Census, pid: int) -> None:
    """A killed process counts as dead when its main thread has ended. It can be collected when all threads have."""
    deadline = time.monotonic() + 5
    while processes.born(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        census.collect_dead()


def test_a_mock_has_its_environment_folder_session_and_streams(server: ForkServer, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    mock = server.fork(command("--journal", str(journal), "--", "x"), {"A": "b"}, tmp_path)

    place = urlsplit(json.loads(first_line(mock))["url"])
    socket.create_connection((place.hostname, place.port), timeout=5).close()
    assert mock.poll() is None
    assert end_of(mock) == 0

    start = next(entry for entry in read_journal(journal) if entry.event == "start")
    assert (start.pid, start.data["args"], start.data["cwd"]) == (mock.pid, ["x"], str(tmp_path))
    assert start.data["env"] == {"A": "b"}
    assert (start.data["sid"], start.data["ppid"]) == (mock.pid, os.getpid())
    assert {number for number in start.data["fds"] if int(number) < 3} == {"0", "1", "2"}


def test_mocks_do_not_hold_each_others_pipes(server: ForkServer, tmp_path: Path) -> None:
    first, second = (server.fork(command(), {}, tmp_path) for _ in range(2))
    first_line(first)
    first_line(second)

    assert end_of(first) == 0
    assert end_of(second) == 0


def test_a_wrong_command_line_ends_with_its_status_and_message(server: ForkServer, tmp_path: Path) -> None:
    mock = server.fork(command("--nonsense"), {}, tmp_path)

    with open(os.dup(mock.streams[2]), "rb") as stderr:
        assert b"--nonsense" in stderr.read()
    assert end_of(mock) == 2


def test_without_the_fork_server_a_fork_is_a_harness_error(tmp_path: Path) -> None:
    server = ForkServer()
    server.close()

    with pytest.raises(HarnessError, match="cannot fork a mock"):
        server.fork(command(), {}, tmp_path)


async def test_the_census_ends_a_mock_that_it_includes(server: ForkServer, tmp_path: Path) -> None:
    census = Census("no-such-token")
    mock = server.fork(command(), {}, tmp_path)
    census.include(mock.pid)

    assert [process.pid for process in await census.end_all()] == [mock.pid]
    wait_until_collected(census, mock.pid)
    for descriptor in mock.streams:
        os.close(descriptor)


async def test_cancel_during_start_leaves_no_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    with anyio.CancelScope() as scope:

        def include_and_cancel(self: Census, pid: int) -> None:
            pids.append(pid)
            include(self, pid)
            scope.cancel()

        include = Census.include
        monkeypatch.setattr(Census, "include", include_and_cancel)
        async with open_workbench(NOT_STARTED, "TEST", keep=False) as workbench:
            await workbench.http("a")

    (pid,) = pids
    assert pid not in processes.table() or not processes.table()[pid].lives


async def test_a_mock_is_started_where_the_runner_cannot_adopt_orphans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remotes, "fork_server", lambda: None)
    async with open_workbench(NOT_STARTED, "TEST", keep=False) as workbench:
        upstream = await workbench.http("a")
        assert upstream.events("listening")
