"""The reproductions of faults of other proxies: each fault still occurs, and a right proxy has none of them."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "conformance" / "implementations" / "reproductions"
REPRODUCTIONS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("small_"))
SHARED = {path.stem for path in FOLDER.glob("small_*.py")}
#: The beginning of a reproduction's name, and the program of the proxy that it is about.
PROXIES = {
    "fastmcp": "fastmcp",
    "mcp_hub": "mcp-hub",
    "mcp_proxy": "mcp-proxy",
    "mcp_remote": "mcp-remote",
    "mcp_stdio": "mcp-stdio",
    "supergateway": "supergateway",
}
#: Those that need only what the right relay does.
RIGHT = (
    "mcp_proxy_http_500",
    "mcp_proxy_session_lost",
    "mcp_stdio_answer_to_no_request",
    "mcp_stdio_line_breaks_passed_on",
    "mcp_stdio_slow_call_delays_others",
    "supergateway_cancels_another_call",
    "supergateway_notifications_lost",
)
WITHIN = 110.0


def run(path: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(path), *command], capture_output=True, text=True, timeout=WITHIN, check=False
    )


def proxy_of(path: Path) -> str:
    return next(proxy for beginning, proxy in PROXIES.items() if path.name.startswith(beginning))


@pytest.mark.peers
@pytest.mark.timeout(120)
@pytest.mark.parametrize("path", REPRODUCTIONS, ids=lambda path: path.stem)
def test_fault_still_occurs(path: Path) -> None:
    program = proxy_of(path)
    variable = f"PEER_{program.upper().replace('-', '_')}"
    command = shlex.split(os.environ.get(variable, "")) or [shutil.which(program) or ""]
    if command == [""]:
        pytest.skip(f"{program} is not on PATH, and {variable} does not give its command")

    done = run(path, command)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reproduced: "), done.stdout + done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", RIGHT)
def test_right_proxy_has_no_fault(name: str) -> None:
    done = run(FOLDER / f"{name}.py", [sys.executable, str(Path(__file__).with_name("right_relay.py"))])

    assert (done.returncode, done.stdout.startswith("not reproduced: ")) == (0, True), (
        done.stdout + done.stderr
    )


@pytest.mark.slow
def test_proxy_that_does_not_start_leaves_the_question_open() -> None:
    done = run(FOLDER / "mcp_stdio_slow_call_delays_others.py", [sys.executable, "-c", "print('no proxy')"])

    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot tell" in done.stderr


@pytest.mark.parametrize("path", REPRODUCTIONS, ids=lambda path: path.stem)
def test_reproduction_imports_nothing_of_the_suite(path: Path) -> None:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])

    assert found <= SHARED | sys.stdlib_module_names


def test_page_lists_each_reproduction_with_its_version_and_report() -> None:
    page = (FOLDER / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)\.py` \| (.*) \|$", page, re.MULTILINE))

    assert sorted(rows) == [path.stem for path in REPRODUCTIONS]
    for path in REPRODUCTIONS:
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        version = docstring.partition(":")[0]
        reports = re.findall(r"([\w.-]+/[\w.-]+) (?:issue|pull request) (\d+)", docstring)
        assert rows[path.stem].startswith(f"{version} | ")
        assert all(f"[{repository} {number}](" in rows[path.stem] for repository, number in reports)


def test_missing_proxy_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    done = run(FOLDER / "mcp_proxy_session_lost.py", [])

    assert (done.returncode, done.stdout) == (2, "")
    assert "mcp-proxy is not on PATH" in done.stderr
