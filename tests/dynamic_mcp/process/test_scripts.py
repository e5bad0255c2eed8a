"""Scripts run as in a shell, and the reason of a failed start names what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.process.child import Child, Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import NullEvents
from dynamic_mcp.upstream.running_child import RunningChild

ENVIRONMENT = dict(os.environ)


def write(path: Path, text: bytes, mode: int = 0o755) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


async def output_of(launch: Launch, guard: Guard) -> bytes:
    child = Child(launch, guard)
    assert child.stdout is not None
    with child.stdout as stdout:
        output: bytes = stdout.read()
    assert child.stdin is not None
    child.stdin.close()
    await child.terminate()
    return output


@pytest.mark.parametrize(
    "begin", [b"", b"# a comment\n", b"\n#!/no/such/program\n", b"\xef\xbb\xbf#!/no/such/program\n"]
)
async def test_script_without_interpreter_line_gets_its_arguments(
    guard: Guard, tmp_path: Path, begin: bytes
) -> None:
    write(tmp_path / "x y", begin + b'echo "$1|$2"\n')

    output = await output_of(Launch((str(tmp_path / "x y"), "a b", "$HOME"), ENVIRONMENT), guard)

    assert output == b"a b|$HOME\n"


async def test_script_is_found_as_other_programs_are(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    write(tmp_path / "tool", b'[ -f "a file" ] && echo here\n')
    on_path = {**ENVIRONMENT, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    assert await output_of(Launch(("tool",), on_path, str(tmp_path)), guard) == b"here\n"
    assert await output_of(Launch(("./tool",), ENVIRONMENT, str(tmp_path)), guard) == b"here\n"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"\x7fELF\0\0\0", 0o755, "Exec format error"),
        (b"echo", 0o644, "Permission denied"),
        (b"#!/no/such/program -x\n", 0o755, "names the interpreter '/no/such/program', which does not exist"),
        (b"#! /bin/sh\r\necho\r\n", 0o755, r"names the interpreter '/bin/sh\\r', which does not exist"),
    ],
)
async def test_reason_of_a_program_that_does_not_start(
    guard: Guard, tmp_path: Path, content: bytes, mode: int, reason: str
) -> None:
    program = str(write(tmp_path / "program", content, mode))
    transport = StdioTransport(program, (), ())

    with pytest.raises(UpstreamFailed, match=reason):
        RunningChild(transport, Launch((program,), ENVIRONMENT), NullEvents(), guard)


async def test_reason_says_where_arguments_belong(guard: Guard) -> None:
    transport = StdioTransport("npx -y server", (), ())

    with pytest.raises(UpstreamFailed, match="its arguments belong into 'args'"):
        RunningChild(transport, Launch(("npx -y server",), ENVIRONMENT), NullEvents(), guard)


@pytest.mark.parametrize("place", ["missing", "file", ""])
async def test_reason_names_a_folder_that_cannot_be_entered(guard: Guard, tmp_path: Path, place: str) -> None:
    write(tmp_path / "file", b"")
    cwd = place and str(tmp_path / place)
    transport = StdioTransport("sh", (), (), cwd)

    with pytest.raises(UpstreamFailed, match=f"its cwd '{cwd}' cannot be used"):
        RunningChild(transport, Launch(("sh",), ENVIRONMENT, cwd), NullEvents(), guard)
