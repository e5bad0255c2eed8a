"""Fixtures for test suites of MCP clients and proxies: scripted servers with a log of everything they see.

    def test_a_tool_is_called(mcp_http_mock):
        server = mcp_http_mock(Script(tools=[tool("search")]))
        ...                                       # have server.url called
        assert server.requests("tools/call")[0].params["name"] == "search"

pytest loads this module wherever the distribution is installed, so it imports nothing until a fixture is asked for.
The fixtures are synchronous and need no plugin for async tests. Each gives a function that makes as many servers
as a test wants; all end with the test, and what they saw is printed when it fails.
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


class _Rack:
    """The mocks of one test."""

    def __init__(self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> None:
        self._request = request
        self._folders = folders
        self.stack = ExitStack()

    def open(self, make: Callable[..., Any], label: str, *what: Any, **how: Any) -> Any:
        folder = self._folders.mktemp(f"mcp-{label}-mock")
        mock = self.stack.enter_context(make(folder, *what, **how))
        # Registered last, so it is told before the mock ends.
        self.stack.callback(self._tell, mock, label)
        return mock

    def _tell(self, mock: Mock, label: str) -> None:
        self._request.node.add_report_section("teardown", f"MCP {label} mock", mock.story())


@pytest.fixture
def _mcp_mocks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Rack]:
    rack = _Rack(request, tmp_path_factory)
    with rack.stack:
        yield rack


@pytest.fixture
def mcp_stdio_mock(_mcp_mocks: _Rack) -> Callable[..., StdioMock]:
    """`mcp_stdio_mock(script=None, *, args=())`: a server for whoever is tested to start, by `command` and `args`."""

    def make(script: Script | None = None, *, args: Sequence[str] = (), **how: Any) -> StdioMock:
        from mock_servers.running import stdio_mock

        mock: StdioMock = _mcp_mocks.open(stdio_mock, "stdio", script, args=args, **how)
        return mock

    return make


@pytest.fixture
def mcp_http_mock(_mcp_mocks: _Rack) -> Callable[..., RemoteMock]:
    """`mcp_http_mock(script=None, *, port=0, tls=None)`: a Streamable HTTP server, running at `url`."""

    def make(script: Script | None = None, **how: Any) -> RemoteMock:
        from mock_servers.running import http_mock

        mock: RemoteMock = _mcp_mocks.open(http_mock, "http", script, **how)
        return mock

    return make


@pytest.fixture
def mcp_sse_mock(_mcp_mocks: _Rack) -> Callable[..., RemoteMock]:
    """`mcp_sse_mock(script=None, *, port=0, tls=None)`: a server of the older HTTP+SSE, running at `url`."""

    def make(script: Script | None = None, **how: Any) -> RemoteMock:
        from mock_servers.running import http_mock

        mock: RemoteMock = _mcp_mocks.open(http_mock, "sse", script, kind="sse", **how)
        return mock

    return make


@pytest.fixture
def mcp_oauth_mock(_mcp_mocks: _Rack) -> Callable[..., ProtectedMock]:
    """`mcp_oauth_mock(oauth=None, script=None, *, kind="oauth")`: a server that wants a bearer, running at `url`,
    and its authorization server, at `issuer`; `kind="sse"` for the older transport.
    """

    def make(oauth: OAuth | None = None, script: Script | None = None, **how: Any) -> ProtectedMock:
        from mock_servers.running import oauth_mock

        mock: ProtectedMock = _mcp_mocks.open(oauth_mock, "oauth", oauth, script, **how)
        return mock

    return make
