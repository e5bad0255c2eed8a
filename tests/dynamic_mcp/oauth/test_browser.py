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


def rename(program: Path, name: str) -> None:
    program.rename(program.with_name(name))


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


@pytest.mark.parametrize("name", ["wslview", "wsl-open", "termux-open-url", "garcon-url-handler"])
async def test_program_for_another_system_needs_no_display(
    monkeypatch: pytest.MonkeyPatch, program: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    rename(program, name)
    monkeypatch.setenv("PATH", str(program.parent))
    await show(ADDRESS, "docs")

    assert (program.parent / "said").read_text() == f"{ADDRESS}\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("is_wsl", [True, False])
async def test_windows_opens_its_browser_for_wsl(
    monkeypatch: pytest.MonkeyPatch, program: Path, capfd: pytest.CaptureFixture[str], is_wsl: bool
) -> None:
    rename(program, "rundll32.exe")
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.delenv("WSL_INTEROP", raising=False)
    if is_wsl:
        monkeypatch.setenv("WSL_DISTRO_NAME", "Ubuntu")
    else:
        monkeypatch.delenv("WSL_DISTRO_NAME", raising=False)
    await show(ADDRESS, "docs")

    if is_wsl:
        assert (program.parent / "said").read_text() == f"url.dll,FileProtocolHandler\n{ADDRESS}\n"
    else:
        assert ADDRESS in capfd.readouterr().err
