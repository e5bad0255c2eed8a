"""The start is quick, because an agent starts the proxy for every session."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

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

#: Seconds of processor time until the answer to `initialize`, with the start of the interpreter.
QUICK = 0.2


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
    # The best of five, because other load on the machine can only make a start slower.
    times: list[float] = []
    while len(times) < 5 and not (times and times[-1] < QUICK):
        times.append(start(config)[1])
    assert min(times) < QUICK, times


def test_sign_in_does_not_import_the_command_line_of_httpx() -> None:
    program = "import sys, dynamic_mcp.oauth.signin; print(*sorted({'httpx', 'click', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "httpx\n"
