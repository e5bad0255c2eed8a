"""Fixtures for test suites of MCP clients and proxies: scripted servers with a journal of everything that they see.

    def test_client_calls_a_tool(mcp_http_mock):
        server = mcp_http_mock(Script(tools=[tool("search")]))
        ...                                       # let the client under test call server.url
        assert server.requests("tools/call")[0].params["name"] == "search"

pytest loads this module in every environment that has the distribution, so the module imports nothing until a test uses a
fixture. The fixtures are synchronous and need no plugin for async tests. Each fixture is a function that makes as many
servers as a test needs. All servers end with the test. When the test fails, pytest prints their journals.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mock_servers.oauth_script import OAuth
    from mock_servers.running import Mock, ProtectedMock, RemoteMock, StdioMock
    from mock_servers.script import Script


class _TestMocks:
    """The mocks of one test, on one exit stack."""

    def __init__(self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> None:
        self._request = request
        self._folders = folders
        self.stack = ExitStack()

    def open(self, make: Callable[..., Any], label: str, *what: Any, **how: Any) -> Any:
        folder = self._folders.mktemp(f"mcp-{label}-mock")
        mock = self.stack.enter_context(make(folder, *what, **how))
        # Registered last, so it runs before the mock ends.
        self.stack.callback(self._report, mock, label)
        return mock

    def _report(self, mock: Mock, label: str) -> None:
        self._request.node.add_report_section("teardown", f"MCP {label} mock", mock.journal_text())


@pytest.fixture
def _mcp_mocks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_TestMocks]:
    mocks = _TestMocks(request, tmp_path_factory)
    with mocks.stack:
        yield mocks


@pytest.fixture
def mcp_stdio_mock(_mcp_mocks: _TestMocks) -> Callable[..., StdioMock]:
    """`mcp_stdio_mock(script=None, *, args=())`: a server that the program under test starts, by `command` and `args`."""

    def make(script: Script | None = None, *, args: Sequence[str] = (), **how: Any) -> StdioMock:
        from mock_servers.running import stdio_mock

        mock: StdioMock = _mcp_mocks.open(stdio_mock, "stdio", script, args=args, **how)
        return mock

    return make


@pytest.fixture
def mcp_http_mock(_mcp_mocks: _TestMocks) -> Callable[..., RemoteMock]:
    """`mcp_http_mock(script=None, *, port=0, tls=None)`: a running Streamable HTTP server, at `url`."""

    def make(script: Script | None = None, **how: Any) -> RemoteMock:
        from mock_servers.running import http_mock

        mock: RemoteMock = _mcp_mocks.open(http_mock, "http", script, **how)
        return mock

    return make


@pytest.fixture
def mcp_sse_mock(_mcp_mocks: _TestMocks) -> Callable[..., RemoteMock]:
    """`mcp_sse_mock(script=None, *, port=0, tls=None)`: a running server of the older HTTP+SSE, at `url`."""

    def make(script: Script | None = None, **how: Any) -> RemoteMock:
        from mock_servers.running import http_mock

        mock: RemoteMock = _mcp_mocks.open(http_mock, "sse", script, kind="sse", **how)
        return mock

    return make


@pytest.fixture
def mcp_oauth_mock(_mcp_mocks: _TestMocks) -> Callable[..., ProtectedMock]:
    """`mcp_oauth_mock(oauth=None, script=None, *, kind="oauth")`: a running server that requires a bearer token, at `url`,
    and its authorization server, at `issuer`. `kind="sse"` selects the older transport.
    """

    def make(oauth: OAuth | None = None, script: Script | None = None, **how: Any) -> ProtectedMock:
        from mock_servers.running import oauth_mock

        mock: ProtectedMock = _mcp_mocks.open(oauth_mock, "oauth", oauth, script, **how)
        return mock

    return make
