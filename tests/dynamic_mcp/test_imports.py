"""The start is quick, because an agent starts the proxy for every session."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

INITIALIZE = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}\n'
HEAVY = {
    "mcp",
    "httpx",
    "httpx2",
    "pydantic",
    "pydantic_core",
    "starlette",
    "aiohttp",
    "uvicorn",
    "rich",
    "psutil",
    "opentelemetry",
    "requests",
    "argcomplete",
}

#: The most processor time until the answer to `initialize`, in multiples of what the imports below take; usually about 1.5.
MAX_RATIO = 2.5
#: The libraries that every start needs, in an interpreter of their own.
NEEDED = (sys.executable, "-c", "import asyncio, anyio, msgspec")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    server = {"description": "d", "command": sys.executable, "args": ["-I", "-S", "-c", "input()"]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"mcpServers": {"a": server}}))
    return path


def start(config: Path, *options: str) -> tuple[bytes, float, str]:
    """The first line on stdout, the processor time until then, and stderr."""
    command = [sys.executable, *options, "-m", "dynamic_mcp", str(config)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(INITIALIZE)
        process.stdin.flush()
        line = process.stdout.readline()
        used = psutil.Process(process.pid).cpu_times()
        took = used.user + used.system
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 0
    return line, took, stderr.decode()


def test_stdio_servers_do_not_import_http(config: Path) -> None:
    line, _, stderr = start(config, "-X", "importtime")
    rows = [row for row in stderr.splitlines() if row.startswith("import time:")]
    loaded = {row.rpartition("|")[2].strip().partition(".")[0] for row in rows}
    assert json.loads(line)["result"]["protocolVersion"] == "2025-11-25"
    assert {"dynamic_mcp", "anyio", "msgspec"} <= loaded
    assert loaded & HEAVY == set()


@pytest.mark.slow
def test_first_answer_comes_quickly(config: Path) -> None:
    # A ratio, because a busy machine makes both slower. The best of each, because other load can only add to a time.
    pairs = [(start(config)[1], processor_time(NEEDED)) for _ in range(5)]
    took, needed = (min(times) for times in zip(*pairs, strict=True))
    assert took < MAX_RATIO * needed, pairs


def processor_time(command: Sequence[str]) -> float:
    """Seconds of processor time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, timeout=30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_sign_in_does_not_import_the_command_line_of_httpx() -> None:
    program = "import sys, dynamic_mcp.oauth.signin; print(*sorted({'httpx', 'click', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "httpx\n"
