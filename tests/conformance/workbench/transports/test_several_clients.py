"""Several clients of one program that listens."""

from __future__ import annotations

import sys

import pytest

from conformance.errors import NotApplicable, Violation
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench.several_clients import another_client
from conformance.workbench.workbench import open_workbench
from tests.conformance.workbench.transports.test_streamable import ANY, bench


async def test_another_client_is_another_session_of_the_same_process() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as first:
        await first.handshake()
        async with another_client(workbench, first, **ANY) as second:
            await second.handshake()
            answer = await second.request("some/method", id="one")
        assert answer.result == {"of": "one"}
        assert (second.pid, second.port) == (first.pid, first.port)
        assert (await first.request("some/method", id="one")).result == {"of": "one"}
    words = [line.split(" ")[0] for line in first.stderr.splitlines()]
    assert (words.count("initialize"), words.count("DELETE")) == (2, 2)


async def test_a_client_that_vanishes_ends_no_session() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as first:
        await first.handshake()
        await first.vanish()
        with pytest.raises(Violation, match="session is open"):
            await first.notify("some/notification")
    assert "DELETE" not in first.stderr


async def test_a_client_that_leaves_ends_its_session_and_not_the_program() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as first:
        await first.handshake()
        await first.leave()
        assert await first.wait_exit(0.2) is None
    assert "DELETE" in first.stderr


async def test_a_client_that_ignores_what_comes_gets_no_answer() -> None:
    async with bench("none") as workbench, workbench.proxy(**ANY) as first:
        await first.handshake()
        first.ignore_output()
        with pytest.raises(Violation):
            await first.request("some/method", id="one", within=0.5)


async def test_a_program_on_stdio_that_shares_nothing_has_one_client() -> None:
    command = (sys.executable, "-c", "input()", "{config}")
    async with (
        open_workbench(Sut("fake", command, Profile("fake")), "TEST", keep=False) as workbench,
        workbench.proxy(workbench.stdio("a")) as first,
    ):
        with pytest.raises(NotApplicable, match="one client"):
            async with another_client(workbench, first):
                raise AssertionError
        first.may_end_by_itself()
