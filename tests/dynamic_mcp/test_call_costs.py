"""A call costs what the documented table says. It counts steps, not seconds, so a busy machine changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.nulls import valid_result
from dynamic_mcp.protocol.outline import without_long_texts
from dynamic_mcp.protocol.pieces import Large

PERFORMANCE = Path(__file__).parents[2] / "docs/performance.md"
SIZES = {"small": 10, "64 KB": 1 << 16, "1 MB": 1 << 20}
#: The counts may differ from the table by these factors. Python 3.12 counts fewer functions.
MORE, LESS = 1.05, 0.8
#: Calls of a run. The least count is that of a call without other work in between, such as a look at the configuration.
CALLS = 60
#: The most time that the proxy may spend on the bytes of a result, in multiples of the time in which the decoder reads them. About 2.
MOST_PASSES = 4.0

#: Runs the proxy, and writes two numbers at its end. They are its functions that ran for a call, with each step of a coroutine, and its
#: reads and writes. A call lasts from its request to the next one. To look at the reads and writes takes one read.
COUNTER = """
import atexit, os, pathlib, sys
import dynamic_mcp
from dynamic_mcp.cli import main
from dynamic_mcp.frontend.router import Router

package, out = os.path.dirname(dynamic_mcp.__file__), pathlib.Path(sys.argv.pop())
begin, ran, seen = Router.receive.__code__, 0, []
system = os.open("/proc/self/io", os.O_RDONLY) if os.path.exists("/proc/self/io") else None

def reads_and_writes():
    if system is None:
        return 0
    values = dict(line.split(": ") for line in os.pread(system, 4096, 0).decode().splitlines())
    return int(values["syscr"]) + int(values["syscw"]) - len(seen)

def count(frame, event, arg):
    global ran
    if event != "call" or not frame.f_code.co_filename.startswith(package):
        return
    ran += 1
    if frame.f_code is begin:
        seen.append((ran, reads_and_writes()))

@atexit.register
def write():
    sys.setprofile(None)
    out.write_text(" ".join(str(min(b[of] - a[of] for a, b in zip(seen[1:], seen[2:]))) for of in (0, 1)))

sys.setprofile(count)
sys.exit(main(sys.argv[1:]))
"""

#: An upstream with one tool, which returns a text of the size in its argument.
UPSTREAM = """
import json, sys

text = "x" * int(sys.argv[1])
for line in sys.stdin.buffer:
    message = json.loads(line)
    match message["method"]:
        case "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "u", "version": "1"}}
        case "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            result = {"content": [{"type": "text", "text": text}]}
        case _:
            continue
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\\n")
    sys.stdout.flush()
"""


def documented() -> dict[str, tuple[int, int]]:
    """By calls: the functions and the system calls in the table."""
    rows = re.findall(r"^\| (small|64 KB|1 MB) \| (\d+) \| (\d+) \|$", PERFORMANCE.read_text(), re.MULTILINE)
    return {name: (int(functions), int(system)) for name, functions, system in rows}


def counted(folder: Path, size: int) -> tuple[int, int]:
    """The functions and the reads and writes of a call, one after the other."""
    server = {"description": "d", "command": sys.executable, "args": ["-I", "-S", "-c", UPSTREAM, str(size)]}
    config, out = folder / "config.json", folder / "counts"
    config.write_text(json.dumps({"mcpServers": {"a": server}}))
    command = [sys.executable, "-c", COUNTER, str(config), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdin
        assert proxy.stdout
        about = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "c", "version": "1"},
        }
        call = {"name": CALL, "arguments": {"group": "a", "name": "echo", "args": {}}}
        for number in range(CALLS + 1):
            method, params = ("tools/call", call) if number else ("initialize", about)
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            proxy.stdin.write(json.dumps(request).encode() + b"\n")
            proxy.stdin.flush()
            assert len(proxy.stdout.readline()) > (size if number else 1)
        proxy.communicate(timeout=30)
    functions, system = map(int, out.read_text().split())
    return functions, system


@pytest.mark.parametrize("name", SIZES)
def test_call_takes_the_documented_steps(tmp_path: Path, name: str) -> None:
    functions, system = counted(tmp_path, SIZES[name])
    known = documented()[name]
    assert LESS * known[0] <= functions <= MORE * known[0]
    assert system <= known[1]


@pytest.mark.skipif(
    sys.gettrace() is not None, reason="the tracing of coverage slows Python down, but not the decoder"
)
def test_large_result_costs_few_passes_over_its_bytes() -> None:
    result = b'{"content":[{"type":"text","text":"%b"}]}' % (b"x" * SIZES["64 KB"])
    chunk = jsonrpc.result(b"7", result)

    def passed_on() -> None:
        (line,) = LineSplitter().feed(chunk)
        assert not isinstance(line, Large)
        valid = valid_result("tools/call", bytes(jsonrpc.parse(line).result))
        assert b'"uri"' not in without_long_texts(valid)
        jsonrpc.result(b"8", valid)

    # A ratio of the least times, because other work can only add to a time.
    decode = msgspec.json.Decoder(Raw).decode
    pairs = [(seconds(passed_on), seconds(lambda: decode(result))) for _ in range(100)]
    took, decoded = (min(times) for times in zip(*pairs, strict=True))
    assert took <= MOST_PASSES * decoded


def seconds(work: Callable[[], object]) -> float:
    """The processor time of ten repetitions."""
    began = time.thread_time()
    for _ in range(10):
        work()
    return time.thread_time() - began
