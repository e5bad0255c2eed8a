"""The commands `serve` and `status` as processes of their own."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dynamic_mcp.helpers import is_alive

TOKEN = "a-token-for-this-test"
SECONDS = 30


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    mock = {
        "description": "A mock",
        "command": sys.executable,
        "args": ["-m", "mock_servers", "stdio", "--everything"],
    }
    path.write_text(json.dumps({"mcpServers": {"mock": mock}}))
    return path


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dynamic_mcp", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@contextmanager
def served(config: Path, *options: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A proxy at a free port."""
    command = [sys.executable, "-m", "dynamic_mcp", "serve", str(config), "--listen", "127.0.0.1:0", *options]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/mcp", process.stderr.readline())
        assert found is not None
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


def session(url: str) -> bytes:
    """Make a call through `connect`; the last line of its output."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    call = {
        "name": "call_dynamic_tool",
        "arguments": {"group": "mock", "name": "add", "args": {"a": 2, "b": 40}},
    }
    lines: list[dict[str, object]] = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "dynamic_mcp", "connect", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    for line in lines:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        if "id" in line:
            answer = process.stdout.readline()
    process.stdin.close()
    assert process.wait(SECONDS) == 0
    process.stdout.close()
    return answer


@pytest.mark.slow
def test_two_sessions_use_one_server_which_ends_with_the_proxy(config: Path) -> None:
    with served(config) as (url, process):
        answers = [session(url), session(url)]
        status = run("status", url, "--json")
        person = run("status", url)
        (report,) = json.loads(status.stdout)
        (group,) = report["groups"]
        assert is_alive(group["pid"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
        assert not is_alive(group["pid"])
    assert all(b'"text":"42"' in answer.replace(b" ", b"") for answer in answers)
    assert group["requests"] >= 2
    assert "group mock" in person.stdout


@pytest.mark.slow
def test_status_needs_the_token_of_the_proxy_and_an_address(config: Path, tmp_path: Path) -> None:
    with served(config, DYNAMIC_MCP_TOKEN=TOKEN) as (url, _):
        good = run("status", url, "--json", DYNAMIC_MCP_TOKEN=TOKEN)
        bad = run("status", url, "--json")
    gone = run("status", url, "--json")
    assert (good.returncode, len(json.loads(good.stdout))) == (0, 1)
    assert (bad.returncode, gone.returncode) == (2, 1)
    assert "--token-file" in bad.stderr
    assert "could not be reached" in gone.stderr
    assert (bad.stdout, json.loads(gone.stdout)) == ("", [])


def test_status_of_another_program_says_that_no_proxy_serves_there() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _OtherProgram) as server:
        threading.Thread(target=server.handle_request).start()
        done = run("status", f"http://127.0.0.1:{server.server_address[1]}/mcp")
    assert done.returncode == 1
    assert "no proxy of this version serves there (HTTP 501)" in done.stderr


class _OtherProgram(http.server.BaseHTTPRequestHandler):
    """Answers every request with 501."""

    def log_message(self, format: str, *values: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize(
    "address", ["127.0.0.1:18765", "localhost:8765/mcp", "[::1]:8765", "host-a.example:80/x/mcp"]
)
def test_status_of_an_address_without_a_scheme_says_how_to_write_it(address: str) -> None:
    done = run("status", address)
    assert done.returncode == 2
    assert f"http://{address}" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="status needs a POSIX system")
def test_status_of_a_file_with_a_colon_is_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a:1"
    file.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "dynamic_mcp", "status", "a:1"],
        cwd=tmp_path,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "for this configuration" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--listen", "0.0.0.0:0"], "token"),
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "HOST:PORT"),
        (["--token-file", "/nonexistent"], "cannot read the token"),
        (["--linger", "soon"], "--linger"),
        (["--allow-host", "https://proxy.example"], "--allow-host: 'https://proxy.example' never matches"),
        (["--allow-origin", "proxy.example"], "--allow-origin: 'proxy.example' is no origin"),
        (["--listen", "192.0.2.1:0", "--token-file", "TOKEN"], "cannot listen at 192.0.2.1"),
    ],
)
def test_mistake_in_the_command_line_says_what_to_do(
    config: Path, tmp_path: Path, words: list[str], text: str
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    done = run(
        "serve", str(config), *(str(tmp_path / "token") if word == "TOKEN" else word for word in words)
    )
    assert done.returncode == 2
    assert text in done.stderr
    assert TOKEN not in done.stderr


def test_other_starts_import_no_http_server() -> None:
    code = (
        "import sys, dynamic_mcp.cli, dynamic_mcp.server, dynamic_mcp.commands.serve, dynamic_mcp.commands.connect;"
        "print({'starlette', 'uvicorn', 'h11'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.strip() == "set()"
