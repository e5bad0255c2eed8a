"""The start is quick, because an agent starts the proxy for every session."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from conformance.bench.imports import OTHERS, costs_of_a_start, part_of

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

#: Modules that no start needs: they wait for a mistake, a search, a secret, an encrypted connection, an option, or the first rest.
LATER = {
    "argparse",
    "bz2",
    "difflib",
    "dynamic_mcp.config.file_events",
    "dynamic_mcp.oauth",
    "gettext",
    "hashlib",
    "_hashlib",
    "hmac",
    "inotify_simple",
    "json5",
    "lzma",
    "random",
    "secrets",
    "shutil",
    "tempfile",
    "unicodedata",
}
PERFORMANCE = Path(__file__).parents[2] / "docs/performance.md"
#: Modules that another version of Python or of a library may add to a part of the documented table.
_MORE = 5
#: The same for the standard library, where Python 3.13 has seven more than 3.11.
_MORE_OF_PYTHON = 8

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


def test_start_and_first_call_import_what_the_documented_table_says() -> None:
    modules = costs_of_a_start()
    assert not modules.keys() & LATER
    assert {module.partition(".")[0] for module in modules} & HEAVY == set()
    rows = re.findall(
        r"^\| (.+?) \| (\d+) \| [\d.]+ ms \| [\d.]+ MB \|$", PERFORMANCE.read_text(), re.MULTILINE
    )
    documented = {part: int(count) for part, count in rows}
    counts = Counter(map(part_of, modules))
    assert documented.pop("all") == sum(documented.values())
    assert counts.keys() <= documented.keys()
    assert [
        part
        for part, count in counts.items()
        if count > documented[part] + (_MORE_OF_PYTHON if part == OTHERS else _MORE)
    ] == []


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


def test_servers_behind_a_url_need_no_httpx_before_a_sign_in() -> None:
    program = "import sys, dynamic_mcp.upstream.http.connector, dynamic_mcp.oauth.authorization; print('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
