"""Mocks that are forked are processes like those that are started: own pipes, status, environment, and a certain end."""

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
from conformance.model.sut import Profile, Sut
from conformance.workbench import processes, remotes
from conformance.workbench.census import Census, adopt_orphans
from conformance.workbench.forkserver import Born, Nursery
from conformance.workbench.workbench import open_workbench
from mock_servers.commands import MAIN
from mock_servers.journal import read_journal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a subreaper")

NOBODY = Sut("nobody", (sys.executable, "-c", "pass", "{config}"), Profile("nobody"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    assert adopt_orphans()
    made = Nursery()
    yield made
    made.close()


def command(*options: str) -> list[str]:
    return [sys.executable, "-I", str(MAIN), "http", *options]


def first_line(mock: Born) -> bytes:
    _, stdout, _ = mock.streams
    return os.read(stdout, 1 << 16)


def end_of(mock: Born) -> int:
    """Close our ends and wait for the exit status."""
    for descriptor in mock.streams:
        os.close(descriptor)
    deadline = time.monotonic() + 5
    while (code := mock.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def test_a_mock_has_its_environment_folder_session_and_streams(nursery: Nursery, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    mock = nursery.bear(command("--journal", str(journal), "--", "x"), {"A": "b"}, tmp_path)

    place = urlsplit(json.loads(first_line(mock))["url"])
    socket.create_connection((place.hostname, place.port), timeout=5).close()
    assert mock.poll() is None
    assert end_of(mock) == 0

    start = next(entry for entry in read_journal(journal) if entry.event == "start")
    assert (start.pid, start.data["args"], start.data["cwd"]) == (mock.pid, ["x"], str(tmp_path))
    assert start.data["env"] == {"A": "b"}
    assert (start.data["sid"], start.data["ppid"]) == (mock.pid, os.getpid())
    assert {number for number in start.data["fds"] if int(number) < 3} == {"0", "1", "2"}


def test_mocks_do_not_hold_each_others_pipes(nursery: Nursery, tmp_path: Path) -> None:
    first, second = (nursery.bear(command(), {}, tmp_path) for _ in range(2))
    first_line(first)
    first_line(second)

    assert end_of(first) == 0
    assert end_of(second) == 0


def test_a_wrong_command_line_has_its_status_and_words(nursery: Nursery, tmp_path: Path) -> None:
    mock = nursery.bear(command("--nonsense"), {}, tmp_path)

    with open(os.dup(mock.streams[2]), "rb") as stderr:
        assert b"--nonsense" in stderr.read()
    assert end_of(mock) == 2


def test_without_the_process_that_forks_nothing_is_born(tmp_path: Path) -> None:
    nursery = Nursery()
    nursery.close()

    with pytest.raises(HarnessError, match="no mock can be forked"):
        nursery.bear(command(), {}, tmp_path)


async def test_the_census_ends_a_mock_that_it_was_told_of(nursery: Nursery, tmp_path: Path) -> None:
    census = Census("no-such-token")
    mock = nursery.bear(command(), {}, tmp_path)
    census.include(mock.pid)

    assert [person.pid for person in await census.end_all()] == [mock.pid]
    assert processes.born(mock.pid) is None
    for descriptor in mock.streams:
        os.close(descriptor)


async def test_a_mock_whose_start_is_given_up_does_not_live_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    with anyio.CancelScope() as scope:

        def gives_up(self: Census, pid: int) -> None:
            pids.append(pid)
            include(self, pid)
            scope.cancel()

        include = Census.include
        monkeypatch.setattr(Census, "include", gives_up)
        async with open_workbench(NOBODY, "TEST", keep=False) as workbench:
            await workbench.http("a")

    (pid,) = pids
    assert pid not in processes.table() or not processes.table()[pid].lives


async def test_where_orphans_cannot_be_adopted_a_mock_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotes, "nursery", lambda: None)
    async with open_workbench(NOBODY, "TEST", keep=False) as workbench:
        upstream = await workbench.http("a")
        assert upstream.events("listening")
