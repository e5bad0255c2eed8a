"""Limits of a child: they are set before its program runs, or the program does not run."""

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


def upstream(guard: Guard, configured: ResourceLimits, *argv: str) -> StdioUpstream:
    command, *args = argv or (sys.executable, "-c", "")
    transport = StdioTransport(command, tuple(args), (), limits=configured)
    return StdioUpstream(transport, FakeGroup(server("a")), guard, hardening.launch)


def test_no_limits_need_no_function() -> None:
    assert limits.setter(ResourceLimits()) is None


@pytest.mark.parametrize(("maximum", "ceiling"), [(-1, 4), (50, 4), (4, 4), (3, 3)])
def test_sigxcpu_comes_before_sigkill(monkeypatch: pytest.MonkeyPatch, maximum: int, ceiling: int) -> None:
    set_to: list[object] = []
    monkeypatch.setattr(resource, "getrlimit", lambda number: (maximum, maximum))
    monkeypatch.setattr(resource, "setrlimit", lambda number, pair: set_to.append((number, pair)))

    step = limits.setter(ResourceLimits(cpu_time=3))
    assert step is not None
    step()

    assert set_to == [(resource.RLIMIT_CPU, (3, ceiling))]


def test_limit_beyond_that_of_the_proxy_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda number: (64 << 20, 64 << 20))

    with pytest.raises(UpstreamFailed, match=r"security\.limits\.memory is 1GiB, .* no more than 64MiB"):
        limits.setter(ResourceLimits(memory=1 << 30))


def test_limits_apply_to_the_program_and_cannot_be_raised() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SHOWS_OPEN_FILES],
        preexec_fn=limits.setter(ResourceLimits(open_files=77)),
        capture_output=True,
        check=True,
    )

    assert run.stdout == b"77 77\n"


async def test_child_does_not_start_without_its_limits(
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


async def test_limits_apply_without_a_guard(monkeypatch: pytest.MonkeyPatch, guard: Guard) -> None:
    monkeypatch.setattr(guard, "_unavailable", True)
    program = "import resource, sys; sys.exit(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    limited = upstream(guard, ResourceLimits(open_files=77), sys.executable, "-c", program)

    with pytest.raises(UpstreamGone, match=r"exit code 77; it may have met a limit: open_files 77\)"):
        await limited.open(5.0)

    await limited.close()


EVERY = ResourceLimits(64 << 20, 2, 10, 5)


@pytest.mark.parametrize(
    ("status", "configured", "expected"),
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
def test_end_of_a_child_names_possible_limits(status: str, configured: ResourceLimits, expected: str) -> None:
    assert limits.explained(status, configured) == expected


@given(st.integers(1, 10**15 - 1))
def test_formatted_size_is_valid_in_the_configuration(number: int) -> None:
    assert size.size(size.text(number)) == number
