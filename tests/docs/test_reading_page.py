"""The page for readers: the lengths of its routes, its times, and the way of a call are those of the code."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys

import pytest

from dynamic_mcp.frontend.tool_surface import CALL

from .pages import ROOT

PAGE = ROOT / "docs" / "reading.md"
PACKAGE = ROOT / "dynamic_mcp"
#: The most lines that somebody reads in an hour.
MOST_LINES = 2500
#: A line count on the page may differ by this share, or by so many lines if that is more.
SHARE, FEW_LINES = 0.15, 25

_SPAN = re.compile(r"`([^`]+)`")
_MODULE = re.compile(r"\b(?:\w+/)*\w+\.py\b")
_DRAWN = re.compile(r"^\s*(\S+\.py)\s", re.MULTILINE)

#: Runs the core, and writes for each call of the client the modules whose functions begin or end, in order.
TRACER = """
import atexit, json, os, pathlib, sys
sys.modules["dynamic_mcp.extras"] = None
import dynamic_mcp
from dynamic_mcp.cli import main
from dynamic_mcp.frontend.client import ClientLink

package, out = os.path.dirname(dynamic_mcp.__file__) + "/", pathlib.Path(sys.argv.pop())
begin, calls = ClientLink.feed.__code__, []

def note(frame, event, arg):
    code = frame.f_code
    if event in ("call", "return") and code.co_filename.startswith(package):
        if code is begin and event == "call":
            calls.append([])
        if calls:
            calls[-1].append(code.co_filename.removeprefix(package))

@atexit.register
def write():
    sys.setprofile(None)
    out.write_text(json.dumps(calls))

sys.setprofile(note)
sys.exit(main(sys.argv[1:]))
"""

#: A legacy server with one tool.
UPSTREAM = """
import json, sys

RESULTS = {
    "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "u", "version": "1"}},
    "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
    "tools/call": {"content": [{"type": "text", "text": "here"}]},
}
for line in sys.stdin:
    message = json.loads(line)
    if (result := RESULTS.get(message["method"])) is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def section(heading: str) -> str:
    """The text of a section of the page."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    assert found, heading
    return rest.partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of the rows of the last table in a section."""
    table = section(heading).rpartition("| ---")[2].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("|")]


def lines_of(module: str, names: list[str]) -> int:
    """The lines of a module, or of the classes and functions with these names in it."""
    text = (PACKAGE / module).read_text(encoding="utf-8")
    if not names:
        return len(text.splitlines())
    found = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return sum(found[name] for name in names)


def is_near(written: str, counted: int) -> bool:
    return abs(int(written.replace(",", "")) - counted) <= max(FEW_LINES, SHARE * counted)


def test_first_route_takes_an_hour() -> None:
    steps = [
        (_SPAN.findall(module), _SPAN.findall(names), lines)
        for module, names, lines, _ in rows("Route A: one call, in an hour")
    ]
    counted = [lines_of(module, names) for (module,), names, _ in steps]

    assert sum(counted) <= MOST_LINES
    assert [
        f"{module}: {lines}, not {count}"
        for ((module,), _, lines), count in zip(steps, counted, strict=True)
        if not is_near(lines, count)
    ] == []
    total = re.search(r"([\d,]+) lines", section("Route A: one call, in an hour"))
    assert total is not None
    assert is_near(total[1], sum(counted))


def test_second_route_is_as_long_as_it_says() -> None:
    counted = {
        question: (lines, sum(lines_of(module, []) for module in _SPAN.findall(modules)))
        for question, modules, lines, _ in rows("Route B: by question")
    }

    assert counted
    assert {question: found for question, found in counted.items() if not is_near(*found)} == {}


def test_time_is_that_of_the_code() -> None:
    table = rows("Times")
    assert table
    for seconds, what, constant in table:
        name, module = _SPAN.findall(constant)
        value = getattr(importlib.import_module(f"dynamic_mcp.{module[:-3].replace('/', '.')}"), name)
        values = value if isinstance(value, tuple) else (value,)
        assert [float(one) for one in seconds.split(",")] == list(values), what


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The modules that each of some calls runs, in order, with a legacy client and a legacy server."""
    folder = tmp_path_factory.mktemp("traced")
    server = {"description": "d", "command": sys.executable, "args": ["-I", "-S", "-c", UPSTREAM]}
    config, out = folder / "config.json", folder / "calls"
    config.write_text(json.dumps({"mcpServers": {"a": server}}))
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    call = {"name": CALL, "arguments": {"group": "a", "name": "echo", "args": {}}}
    requests = [("initialize", about), *[("tools/call", call)] * 5]
    command = [sys.executable, "-c", TRACER, str(config), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdin
        assert proxy.stdout
        for id, (method, params) in enumerate(requests):
            request = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
            proxy.stdin.write(json.dumps(request).encode() + b"\n")
            proxy.stdin.flush()
            assert b'"result"' in proxy.stdout.readline()
        proxy.communicate(timeout=30)
    traced: list[list[str]] = json.loads(out.read_text())
    # The first call waits for the start of the server, and the end follows the last one.
    return traced[2:-1]


@pytest.mark.slow
def test_call_to_a_child_takes_the_drawn_way(calls: list[list[str]]) -> None:
    drawn = _DRAWN.findall(section("One call to a child process"))
    assert drawn
    for call in calls:
        passed = iter(call)
        missing = next((module for module in drawn if module not in passed), None)
        assert missing is None, f"{missing} does not run after the modules before it"


@pytest.mark.slow
def test_each_module_of_a_call_is_on_the_page(calls: list[list[str]]) -> None:
    of_every_call = set.intersection(*map(set, calls))
    named = set(_MODULE.findall(section("One call to a child process")))

    assert len(of_every_call) > 10
    assert sorted(of_every_call - named) == []
