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
ROUTE_A = "Route A: one call, in an hour"
#: The most lines that somebody reads in an hour.
MOST_LINES = 1500
#: A line count on the page may differ by this share, or by so many lines if that is more.
SHARE, FEW_LINES = 0.1, 10
#: The first route may lack functions of at most so many lines that a call runs. At least this share of it has to run in a call.
FEW_LINES_OF_A_CALL, SHARE_OF_A_CALL = 10, 0.6

_SPAN = re.compile(r"`([^`]+)`")
_MODULE = re.compile(r"\b(?:\w+/)*\w+\.py\b")
_DRAWN = re.compile(r"^\s*(\S+\.py)\s", re.MULTILINE)

#: Runs the core, and writes for each call of the client the functions that begin or end, in order: their modules and first lines.
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
            calls[-1].append((code.co_filename.removeprefix(package), code.co_firstlineno))

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


def definitions(module: str) -> dict[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """The classes and functions of a module by name, such as ``Peer.request``."""
    found: dict[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = {}

    def collect(parent: ast.AST, prefix: str) -> None:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[prefix + node.name] = node
                collect(node, f"{prefix}{node.name}.")
            else:
                collect(node, prefix)

    collect(ast.parse((PACKAGE / module).read_text(encoding="utf-8")), "")
    return found


def span(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    """The lines of a class or function, with its decorators."""
    return range(min(one.lineno for one in (node, *node.decorator_list)), (node.end_lineno or 0) + 1)


def lines_of(module: str, names: list[str]) -> set[int]:
    """The lines of a module, or of the classes and functions with these names, of which the module has one each."""
    if not names:
        return {*range(1, len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) + 1)}
    lines: set[int] = set()
    for name in names:
        (node,) = [node for full, node in definitions(module).items() if f".{full}".endswith(f".{name}")]
        lines.update(span(node))
    return lines


def first_route() -> dict[str, set[int]]:
    """The lines of each module that the first route has."""
    route = {}
    for module, names, _, _ in rows(ROUTE_A):
        (path,) = _SPAN.findall(module)
        route[path] = lines_of(path, _SPAN.findall(names))
    return route


def is_near(written: str, counted: int) -> bool:
    return abs(int(written.replace(",", "")) - counted) <= max(FEW_LINES, SHARE * counted)


def test_first_route_takes_an_hour() -> None:
    counted = [len(lines) for lines in first_route().values()]
    written = [(module, lines) for module, _, lines, _ in rows(ROUTE_A)]

    assert sum(counted) <= MOST_LINES
    assert [
        f"{module}: {lines}, not {count}"
        for (module, lines), count in zip(written, counted, strict=True)
        if not is_near(lines, count)
    ] == []
    total = re.search(r"([\d,]+) lines", section(ROUTE_A))
    assert total is not None
    assert is_near(total[1], sum(counted))


def test_second_route_is_as_long_as_it_says() -> None:
    counted = {
        question: (lines, sum(len(lines_of(module, [])) for module in _SPAN.findall(modules)))
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
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, int]]]:
    """The functions that each of some calls runs, in order, with a legacy client and a legacy server: their modules and first lines."""
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
    traced = json.loads(out.read_text())
    # The first call waits for the start of the server, and the end follows the last one.
    return [[(module, line) for module, line in call] for call in traced[2:-1]]


@pytest.mark.slow
def test_call_to_a_child_takes_the_drawn_way(calls: list[list[tuple[str, int]]]) -> None:
    drawn = _DRAWN.findall(section("One call to a child process"))
    assert drawn
    for call in calls:
        passed = iter([module for module, _ in call])
        missing = next((module for module in drawn if module not in passed), None)
        assert missing is None, f"{missing} does not run after the modules before it"


@pytest.mark.slow
def test_each_module_of_a_call_is_on_the_page(calls: list[list[tuple[str, int]]]) -> None:
    of_every_call = {module for module, _ in set.intersection(*map(set, calls))}
    named = set(_MODULE.findall(section("One call to a child process")))

    assert len(of_every_call) > 10
    assert sorted(of_every_call - named) == []


@pytest.mark.slow
def test_first_route_has_each_long_function_of_a_call(calls: list[list[tuple[str, int]]]) -> None:
    of_every_call, route = set.intersection(*map(set, calls)), first_route()
    run = {
        (module, name): span(node)
        for module in {module for module, _ in of_every_call}
        for name, node in definitions(module).items()
        if not isinstance(node, ast.ClassDef) and (module, span(node)[0]) in of_every_call
    }

    assert len(run) > 50
    assert [
        f"{name} in {module}: {len(lines)} lines"
        for (module, name), lines in run.items()
        if len(lines) > FEW_LINES_OF_A_CALL and not route.get(module, set()).issuperset(lines)
    ] == []


@pytest.mark.slow
def test_most_of_the_first_route_runs_in_a_call(calls: list[list[tuple[str, int]]]) -> None:
    of_every_call, route = set.intersection(*map(set, calls)), first_route()
    others = 0
    for module, lines in route.items():
        begun = {line for one, line in of_every_call if one == module}
        functions = [
            span(node) for node in definitions(module).values() if not isinstance(node, ast.ClassDef)
        ]
        others += len({line for one in functions if begun.isdisjoint(one) for line in one} & lines)

    assert 1 - others / sum(map(len, route.values())) >= SHARE_OF_A_CALL
