"""Limits on a child: set before its program runs, or it does not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_mcp.config import size
from dynamic_mcp.config.model import ResourceLimits, StdioTransport
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.extras import hardening
from dynamic_mcp.extras.hardening import limits
from dynamic_mcp.process.child import live
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.stdio import StdioUpstream
from tests.dynamic_mcp.fakes import FakeGroup, server

if sys.platform != "win32":
    import resource

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no setrlimit")

SHOWS_OPEN_FILES = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"


def upstream(guard: Guard, wanted: ResourceLimits, *argv: str) -> StdioUpstream:
    command, *args = argv or (sys.executable, "-c", "")
    transport = StdioTransport(command, tuple(args), (), limits=wanted)
    return StdioUpstream(transport, FakeGroup(server("a")), guard, hardening.launch)


def test_no_limits_are_no_step() -> None:
    assert limits.setter(ResourceLimits()) is None


@pytest.mark.parametrize(("most", "ceiling"), [(-1, 4), (50, 4), (4, 4), (3, 3)])
def test_cpu_time_is_told_by_a_signal_before_it_kills(
    monkeypatch: pytest.MonkeyPatch, most: int, ceiling: int
) -> None:
    set_to: list[object] = []
    monkeypatch.setattr(resource, "getrlimit", lambda number: (most, most))
    monkeypatch.setattr(resource, "setrlimit", lambda number, pair: set_to.append((number, pair)))

    step = limits.setter(ResourceLimits(cpu_time=3))
    assert step is not None
    step()

    assert set_to == [(resource.RLIMIT_CPU, (3, ceiling))]


def test_a_limit_that_the_proxy_does_not_have_itself_is_refused_with_both_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (64 << 20, 64 << 20))

    with pytest.raises(UpstreamFailed, match=r"security\.limits\.memory is 1GiB, .* no more than 64MiB"):
        limits.setter(ResourceLimits(memory=1 << 30))


def test_limits_hold_in_a_program_and_cannot_be_raised() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SHOWS_OPEN_FILES],
        preexec_fn=limits.setter(ResourceLimits(open_files=77)),
        capture_output=True,
        check=True,
    )

    assert run.stdout == b"77 77\n"


async def test_a_child_whose_limits_cannot_be_set_is_not_started(
    monkeypatch: pytest.MonkeyPatch, guard: Guard, tmp_path: Path
) -> None:
    def refuse(number: int, pair: tuple[int, int]) -> NoReturn:
        raise OSError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    marker = tmp_path / "started"
    refused = upstream(guard, ResourceLimits(open_files=64), sys.executable, "-c", f"open('{marker}', 'w')")

    with pytest.raises(UpstreamFailed, match=r"security\.limits are refused by the operating system"):
        await refused.open(5.0)

    assert not marker.exists()
    assert not live
    await refused.close()


async def test_children_are_limited_where_there_is_no_guard(
    monkeypatch: pytest.MonkeyPatch, guard: Guard
) -> None:
    monkeypatch.setattr(guard, "_unavailable", True)
    program = "import resource, sys; sys.exit(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    limited = upstream(guard, ResourceLimits(open_files=77), sys.executable, "-c", program)

    with pytest.raises(UpstreamGone, match=r"exit code 77; it may have met a limit: open_files 77\)"):
        await limited.open(5.0)

    await limited.close()


EVERY = ResourceLimits(64 << 20, 2, 10, 5)


@pytest.mark.parametrize(
    ("status", "wanted", "told"),
    [
        ("exit code 1", ResourceLimits(), "exit code 1"),
        ("exit code 0", EVERY, "exit code 0"),
        ("killed by SIGXCPU", EVERY, "killed by SIGXCPU at its limit: cpu_time 2 s"),
        (
            "killed by SIGXCPU",
            ResourceLimits(open_files=1),
            "killed by SIGXCPU; it may have met a limit: open_files 1",
        ),
        (
            "exit code 1",
            EVERY,
            "exit code 1; it may have met a limit: memory 64MiB, cpu_time 2 s, open_files 10, processes 5",
        ),
    ],
)
def test_an_end_is_told_with_the_limits_that_may_be_its_reason(
    status: str, wanted: ResourceLimits, told: str
) -> None:
    assert limits.explained(status, wanted) == told


@given(st.integers(1, 10**15 - 1))
def test_a_size_that_is_told_can_be_written_in_the_configuration(number: int) -> None:
    assert size.size(size.text(number)) == number
