"""``dynamic-mcp login SERVER`` and ``dynamic-mcp logout SERVER``: sign in and out at a terminal.

``login`` opens the browser, or with ``--no-browser`` only prints the address. If the browser is on another machine, the user can paste
its last address. A running proxy uses the new tokens in its next attempt. Exit status: 0 success, 1 failure, 2 usage error.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynamic_mcp.commands.terminal import Parser, config_path, fail, load, say

if TYPE_CHECKING:
    from dynamic_mcp.config.model import HttpTransport, Server, SseTransport
    from dynamic_mcp.errors import SignInNeeded
    from dynamic_mcp.events import Record
    from dynamic_mcp.hooks import Hooks
    from dynamic_mcp.oauth.callback import Callback
    from dynamic_mcp.oauth.store import TokenStore
    from dynamic_mcp.upstream.base import Connector


def parser() -> Parser:
    """The argument parser of both commands."""
    result = Parser(prog="dynamic-mcp", allow_abbrev=False)
    add_commands(result.add_subparsers(dest="command", required=True))
    return result


def add_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add both commands to a parser."""
    login = commands.add_parser("login", help="sign in to a server behind a URL", allow_abbrev=False)
    login.add_argument("server", metavar="SERVER", help="its name in the configuration")
    login.add_argument(
        "config", nargs="?", metavar="CONFIG", help="the configuration file (else DYNAMIC_MCP_CONFIG)"
    )
    login.add_argument("--no-browser", action="store_true", help="only print the address")
    logout = commands.add_parser("logout", help="delete the tokens of a server", allow_abbrev=False)
    logout.add_argument("server", metavar="SERVER", help="its name in the configuration")
    logout.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="the configuration file (else DYNAMIC_MCP_CONFIG), needed for tokens in the keyring",
    )


def main(words: Sequence[str]) -> int:
    """Run one of the commands; its exit status."""
    command_line = parser()
    options = command_line.parse_args(words)
    if options.command == "logout" and config_path(options.config, os.environ) is None:
        from dynamic_mcp.events import discard

        return _logout(options.server, [], discard)
    config = load(options.config, command_line)

    from dynamic_mcp.process.guard import Guard
    from dynamic_mcp.server import plug_in

    hooks = plug_in(config, Guard())
    servers = {server.name: server for server in config.servers}
    if options.command == "logout":
        return _logout(options.server, _stores_of(servers.get(options.server)), hooks.record)
    if options.server not in servers:
        fail(
            f"no enabled server {options.server!r} in the configuration; the enabled ones are: {', '.join(servers)}"
        )
    return asyncio.run(_login(servers[options.server], hooks, browser=not options.no_browser))


def _stores_of(server: Server | None) -> list[TokenStore]:
    """The stores for the tokens of a configured server; none for a child process."""
    from dynamic_mcp.config.model import StdioTransport
    from dynamic_mcp.oauth.binding import Binding
    from dynamic_mcp.server import token_store

    if server is None or isinstance(server.transport, StdioTransport):
        return []
    entry = Binding.of(server.name, server.transport)
    # A token file may exist from before the keyring was configured.
    return [token_store(entry, kind) for kind in dict.fromkeys(("file", server.transport.token_store))]


def _logout(server: str, stores: Sequence[TokenStore], record: Record) -> int:
    """Delete the tokens in these stores; without one, those of every entry of the name."""
    from dynamic_mcp.errors import StoreFailed
    from dynamic_mcp.oauth.store import FileStore

    stores = stores or FileStore(server).all_of_name()
    try:
        removed = [store.delete() for store in stores]
    except StoreFailed as failure:
        say(f"The tokens of {server} were not removed: {failure}")
        return 1
    record("sign_out", server=server, outcome="ok" if any(removed) else "nothing_there")
    if any(removed):
        say(
            f"The tokens of {server} were removed from this machine. "
            "The authorization server may still accept copies of them."
        )
        return 0
    say(
        f"There are no tokens of {server} in {' or '.join(dict.fromkeys(store.location for store in stores))}."
    )
    return 1


async def _login(server: Server, hooks: Hooks, *, browser: bool) -> int:
    from dynamic_mcp.config.model import StdioTransport
    from dynamic_mcp.errors import HttpStatus, SignInNeeded, UpstreamError, UpstreamFailed
    from dynamic_mcp.process.guard import Guard
    from dynamic_mcp.server import connector

    if isinstance(server.transport, StdioTransport):
        fail(f"{server.name!r} is a child process; only a server with a url needs a sign-in")
    connections = connector(server, Guard(), hooks)
    try:
        try:
            try:
                await _connect(server, connections)
            except HttpStatus as refusal:
                if refusal.status != 401:
                    raise
                # The server refuses a renewed token. The next refusal leads to a sign-in.
                await _connect(server, connections)
        except SignInNeeded as need:
            await _sign_in(server.name, server.transport, need, hooks.record, browser=browser)
            await _connect(server, connector(server, Guard(), hooks))
    except UpstreamError as error:
        say(f"Not signed in to {server.name}: {error}")
        if words := error.stderr_tail if isinstance(error, UpstreamFailed) else "":
            say(f"The server says: {words}")
        return 1
    finally:
        await connections.close()
    say(f"{server.name} is ready: it accepts the authorization, or needs none.")
    return 0


async def _connect(server: Server, connections: Connector) -> None:
    """Connect once. Raises SignInNeeded or another UpstreamError."""
    import anyio

    from dynamic_mcp.errors import UpstreamFailed
    from dynamic_mcp.upstream.base import NullEvents, not_started_within

    limit = server.timeouts.start
    upstream = connections.connect(NullEvents())
    try:
        with anyio.fail_after(limit):
            await upstream.open(limit)
    except TimeoutError:
        raise UpstreamFailed(not_started_within(limit)) from None
    finally:
        await upstream.close()


async def _sign_in(
    name: str,
    transport: HttpTransport | SseTransport,
    need: SignInNeeded,
    record: Record,
    *,
    browser: bool,
) -> None:
    """Show the address, and wait for the browser or for its pasted address. Raises UpstreamFailed."""
    from dynamic_mcp.errors import UpstreamFailed
    from dynamic_mcp.oauth import browser as opener
    from dynamic_mcp.oauth.address import host_of
    from dynamic_mcp.oauth.authorization import Authorization
    from dynamic_mcp.oauth.binding import Binding
    from dynamic_mcp.server import token_store

    reading: list[asyncio.Task[None]] = []

    async def show_address(address: str, server: str, callback: Callback) -> None:
        say(f"Sign in to {server} at {host_of(address)} in a browser:", "", f"  {address}", "", most=None)
        if sys.stdin.isatty():
            say("If the browser is on another machine, paste its last address here.")
            reading.append(asyncio.get_running_loop().create_task(_read_pasted(callback)))
        if browser:
            await opener.show(address, server)

    entry = Binding.of(name, transport)
    store = token_store(entry, transport.token_store)
    authorization = Authorization(name, transport, store, show_address, record)
    try:
        await authorization.sign_in(need)
    except UpstreamFailed as error:
        error.stderr_tail = error.stderr_tail or need.stderr_tail
        raise
    finally:
        for task in reading:
            task.cancel()
        await authorization.close()


async def _read_pasted(callback: Callback) -> None:
    from anyio import to_thread

    while line := await to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        problem = callback.paste(line)
        if problem is None:
            return
        say(problem)
