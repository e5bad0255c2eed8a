"""The address opens in the program that ``BROWSER`` names, or goes to stderr."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from dynamic_mcp.oauth.browser import show

ADDRESS = "https://as.test/authorize?a=$(touch x);b|c&d=%s"


@pytest.fixture(autouse=True)
def no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that writes its arguments to ``said`` beside it, one a line."""
    path = tmp_path / "opener"
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/said"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("", [ADDRESS]),
        (" --new-window", ["--new-window", ADDRESS]),
        (" --url=%s -x", [f"--url={ADDRESS}", "-x"]),
    ],
)
async def test_address_is_one_argument_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
    program: Path,
    capfd: pytest.CaptureFixture[str],
    options: str,
    arguments: list[str],
) -> None:
    monkeypatch.setenv("BROWSER", f"{program}{options}")
    await show(ADDRESS, "docs")

    assert (program.parent / "said").read_text().splitlines() == arguments
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("browser", ["", " : ", "/nowhere/browser", "false", "'unbalanced", os.devnull])
async def test_address_is_printed_on_stderr_if_no_browser_opens(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], browser: str
) -> None:
    monkeypatch.setenv("BROWSER", browser)
    await show(ADDRESS, "docs")

    assert capfd.readouterr() == ("", f"dynamic-mcp: sign in to 'docs' at as.test in a browser: {ADDRESS}\n")


async def test_next_program_runs_if_one_fails(
    monkeypatch: pytest.MonkeyPatch, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BROWSER", os.pathsep.join(["'", "/nowhere/browser", "false", str(program)]))
    await show(ADDRESS, "docs")

    assert (program.parent / "said").read_text() == f"{ADDRESS}\n"
    assert capfd.readouterr() == ("", "")


async def test_nothing_is_printed_on_stdout_without_a_stderr(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    await show(ADDRESS, "docs")

    assert capfd.readouterr().out == ""


def test_full_stderr_does_not_end_the_sign_in(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        asyncio.run(show(ADDRESS, "docs"))
        # ``close`` does not write the failed output again.
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), broken.fileno())

    assert capfd.readouterr().out == ""
