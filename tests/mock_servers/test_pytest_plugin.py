"""The pytest fixtures, in a test suite outside this repository."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PLUGIN = "mock_servers.pytest_plugin"
pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A separate test suite. Warnings are errors, and the only plugins are this one and those that the test names."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def run(suite: pytest.Pytester, *words: str) -> pytest.RunResult:
    return suite.runpytest_subprocess("-p", PLUGIN, *words, timeout=150)


def documented_examples() -> dict[str, str]:
    tokens = MarkdownIt().parse((ROOT / "docs" / "mock-servers.md").read_text(encoding="utf-8"))
    blocks = [token for token in tokens if token.type == "fence" and token.info.startswith("python file=")]
    return {token.info.partition("file=")[2]: token.content for token in blocks}


@pytest.mark.slow
@pytest.mark.parametrize("name", documented_examples())
def test_documented_example_passes(suite: pytest.Pytester, name: str) -> None:
    (suite.path / name).write_text(documented_examples()[name], encoding="utf-8")
    run(suite, name).assert_outcomes(passed=2)


@pytest.mark.slow
def test_servers_of_every_kind_end_with_the_test(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile("""
        import subprocess
        from mock_servers.oauth_script import OAuth
        from mock_servers.script import Script

        mocks = []

        def test_run_all(mcp_stdio_mock, mcp_http_mock, mcp_sse_mock, mcp_oauth_mock):
            stdio = mcp_stdio_mock(Script(ignore_eof=True))
            subprocess.Popen([stdio.command, *stdio.args], stdin=subprocess.DEVNULL)
            stdio.wait_for(lambda: stdio.alive, within=60)
            mocks.extend([stdio, mcp_http_mock(), mcp_http_mock(), mcp_sse_mock(), mcp_oauth_mock()])
            mocks.append(mcp_oauth_mock(OAuth(own_origin=True), kind="sse"))
            assert len({mock.url for mock in mocks[1:]}) == 5
            assert all(mock.alive for mock in mocks)

        def test_all_have_ended():
            assert [mock for mock in mocks if mock.alive] == []
    """)
    run(suite, "-W", "ignore:subprocess:ResourceWarning").assert_outcomes(passed=2)


def test_only_a_failed_test_prints_the_journal(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        from urllib.request import Request, urlopen

        def use(server):
            message = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
            urlopen(Request(server.url, message, {"Content-Type": "application/json"})).close()

        def test_good(mcp_http_mock):
            use(mcp_http_mock())

        def test_bad(mcp_http_mock):
            use(mcp_http_mock())
            assert False
    """)
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Captured MCP http mock teardown*", "*http-request*ping*"])
    assert str(result.stdout).count("Captured MCP http mock") == 1


@pytest.mark.slow
def test_xdist_workers_share_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_it(number, mcp_http_mock):
            assert len(mcp_http_mock().events("start")) == 1
    """)
    run(suite, "-p", "xdist", "-n", "2").assert_outcomes(passed=6)


def test_async_test_can_use_the_fixtures(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_it(mcp_http_mock):
            assert mcp_http_mock().url.endswith("/mcp")
    """)
    run(suite, "-p", "anyio").assert_outcomes(passed=1)


def test_unused_plugin_imports_nothing() -> None:
    program = (
        f"import sys, pytest; before = set(sys.modules); import {PLUGIN}; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert set(done.stdout.split()) <= {"mock_servers", PLUGIN}, done.stderr


def test_entry_point_has_the_name_of_the_module() -> None:
    """With another name, `-p mock_servers.pytest_plugin` would load a second plugin, which pytest refuses."""
    announced = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "entry-points"
    ]
    assert announced["pytest11"] == {PLUGIN: PLUGIN}
    assert import_module(PLUGIN).mcp_stdio_mock
