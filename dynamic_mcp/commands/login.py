"""``dynamic-mcp login SERVER`` and ``dynamic-mcp logout SERVER``: sign in and out at a terminal.

``login`` opens the browser, or with ``--no-browser`` only prints the address. If the browser is on another machine, the user can give its
last address to ``login``, by hand or through a pipe. A running proxy that waits uses the new tokens within seconds. Exit status: 0
success, 1 failure, 2 usage error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.terminal import config_path, fail, load, required_path, say

if TYPE_CHECKING:
    from dynamic_mcp.config.model import Config, Server
    from dynamic_mcp.errors import SignInNeeded
    from dynamic_mcp.events import Record
    from dynamic_mcp.hooks import Hooks
    from dynamic_mcp.oauth.authorization import Authorization
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
        help="the configuration file (else DYNAMIC_MCP_CONFIG), for the tokens of its server only, and those in the keyring",
    )


def main(words: Sequence[str]) -> int:
    """Run one of the commands; its exit status."""
    command_line = parser()
    options = command_line.parse_args(words)
    if options.command == "logout" and config_path(options.config, os.environ) is None:
        from dynamic_mcp.events import discard
        from dynamic_mcp.oauth.store import FileStore

        return _logout(options.server, FileStore(options.server).all_of_name(), discard)
    is_logout = options.command == "logout"
    config = load(options.config, command_line, also=options.server if is_logout else None)
    path = required_path(options.config, command_line)

    from dynamic_mcp.process.guard import Guard
    from dynamic_mcp.server import plug_in

    hooks = plug_in(config, Guard())
    servers = {server.name: server for server in config.servers}
    if is_logout:
        return _logout(options.server, _stores_of(options.server, config, path), hooks.record)
    if options.server not in servers:
        from dynamic_mcp.wording import name_list

        fail(f"{path}: has no enabled server {options.server!r}; the enabled ones are: {name_list(servers)}")
    return asyncio.run(_login(servers[options.server], path, hooks, browser=not options.no_browser))


def _stores_of(name: str, config: Config, path: Path) -> list[TokenStore]:
    """The stores for the tokens of a server in this configuration; ends the program if it can have none."""
    from dynamic_mcp.config.model import StdioTransport
    from dynamic_mcp.oauth.binding import Binding
    from dynamic_mcp.server import token_store
    from dynamic_mcp.wording import name_list

    servers = {server.name: server for server in config.servers}
    if name not in servers:
        known = name_list([*servers, *(f"{other} (disabled)" for other in config.switched_off)])
        fail(
            f"{path}: has no server {name!r}; its servers are: {known}. "
            "Without a configuration, logout deletes the tokens of every server of this name"
        )
    transport = servers[name].transport
    if isinstance(transport, StdioTransport):
        fail(f"{path}: {name!r} is a child process, which has no tokens; only a server with a url has some")
    entry = Binding.of(name, transport)
    # A token file may exist from before the keyring was configured.
    return [token_store(entry, kind) for kind in dict.fromkeys(("file", transport.token_store))]


def _logout(server: str, stores: Sequence[TokenStore], record: Record) -> int:
    """Delete the tokens in these stores."""
    from dynamic_mcp.errors import UpstreamError

    try:
        removed = asyncio.run(_delete(stores))
    except UpstreamError as failure:
        say(f"The tokens of {server} were not removed: {failure}")
        return 1
    record("sign_out", server=server, outcome="ok" if removed else "nothing_there")
    if removed:
        say(
            f"The tokens of {server} were removed from this machine. A running proxy uses its copy until that expires, and does not "
            "renew it. The authorization server may still accept copies."
        )
        return 0
    say(
        f"There are no tokens of {server} in {' or '.join(dict.fromkeys(store.location for store in stores))}."
    )
    return 1


async def _delete(stores: Sequence[TokenStore]) -> bool:
    """Delete the tokens, after a renewal that another process has begun; whether there were any. Raises UpstreamError."""
    if not any(store.exists() for store in stores):
        return False
    # The stores of one name share one lock.
    async with stores[0].lock():
        removed = [store.delete() for store in stores]
    return any(removed)


async def _login(server: Server, config: Path, hooks: Hooks, *, browser: bool) -> int:
    from dynamic_mcp.config.model import StdioTransport
    from dynamic_mcp.errors import UpstreamError, UpstreamFailed
    from dynamic_mcp.oauth.authorization import Authorization
    from dynamic_mcp.oauth.binding import Binding
    from dynamic_mcp.server import token_store

    if isinstance(server.transport, StdioTransport):
        fail(f"{server.name!r} is a child process; only a server with a url needs a sign-in")
    entry = Binding.of(server.name, server.transport)
    store = token_store(entry, server.transport.token_store)
    display = _Display(browser=browser)
    authorization = Authorization(
        server.name,
        server.transport,
        store,
        display.show_address,
        hooks.record,
        config,
        waits_for_others=False,
    )
    try:
        need = await _refused(server, hooks) or await authorization.may_need_sign_in()
        if need is not None:
            await _sign_in(authorization, need)
            if (again := await _refused(server, hooks)) is not None:
                raise again
        else:
            await authorization.tokens.confirm()
    except UpstreamError as error:
        say(f"Not signed in to {server.name}: {error}")
        if words := error.last_output if isinstance(error, UpstreamFailed) else "":
            say(f"The server says: {words}")
        return 1
    finally:
        await authorization.close()
    say(f"{server.name} is ready: it accepts the authorization, or needs none.")
    return 0


async def _refused(server: Server, hooks: Hooks) -> SignInNeeded | None:
    """Connect once, and list the tools; the sign-in that can help if this fails. Raises another UpstreamError."""
    from dynamic_mcp.errors import SignInMayHelp, SignInNeeded
    from dynamic_mcp.process.guard import Guard
    from dynamic_mcp.server import connector

    connections = connector(server, Guard(), hooks)
    try:
        await _connect(server, connections)
    except SignInNeeded as need:
        return need
    except SignInMayHelp as failure:
        # The user has decided to sign in.
        return SignInNeeded(str(failure))
    finally:
        await connections.close()
    return None


async def _connect(server: Server, connections: Connector) -> None:
    """Connect once, as a start does. Raises SignInNeeded or another UpstreamError."""
    import anyio

    from dynamic_mcp.errors import UpstreamFailed
    from dynamic_mcp.groups.listing import TOOLS, list_all
    from dynamic_mcp.upstream.base import NullEvents, not_started_within

    limit = server.timeouts.start
    upstream = connections.connect(NullEvents())
    try:
        with anyio.fail_after(limit):
            await upstream.open(limit)
            if server.features.tools:
                await list_all(upstream, TOOLS, limit)
    except TimeoutError:
        raise UpstreamFailed(not_started_within(limit)) from None
    finally:
        await upstream.close()


async def _sign_in(authorization: Authorization, need: SignInNeeded) -> None:
    """Wait for the browser, its pasted address, or another process. Raises UpstreamFailed."""
    from dynamic_mcp.errors import UpstreamFailed

    try:
        await authorization.sign_in(need)
    except UpstreamFailed as error:
        raise error.with_last_output(need.last_output) from None


class _Display:
    """Shows the address, and reads the pasted one."""

    def __init__(self, *, browser: bool) -> None:
        self._browser = browser

    async def show_address(self, address: str, server: str, callback: Callback) -> None:
        """Show the address of a sign-in (``oauth.signin.ShowAddress``)."""
        from dynamic_mcp.oauth import browser
        from dynamic_mcp.oauth.address import host_of

        say(f"Sign in to {server} at {host_of(address)} in a browser:", "", f"  {address}", "", most=None)
        if sys.stdin is not None:
            if sys.stdin.isatty():
                say("If the browser is on another machine, paste its last address here.")
            read = partial(_read_pasted, asyncio.get_running_loop(), callback)
            threading.Thread(target=_quietly, args=(read,), name="stdin", daemon=True).start()
        if self._browser:
            await browser.show(address, server)


def _quietly(read: Callable[[], None]) -> None:
    """Read, unless stdin cannot be read, or the program is at its end."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        read()


def _read_pasted(loop: asyncio.AbstractEventLoop, callback: Callback) -> None:
    """Read lines from stdin until one is the address. Runs in a thread that must not keep the program from its end."""
    rest = b""
    # A read of ``sys.stdin`` would hold a lock that the end of the program needs.
    while data := os.read(sys.stdin.fileno(), 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            loop.call_soon_threadsafe(_take_pasted, callback, line)
    if rest:
        loop.call_soon_threadsafe(_take_pasted, callback, rest)


def _take_pasted(callback: Callback, line: bytes) -> None:
    if line.strip() and (problem := callback.paste(line.decode(errors="replace"))) is not None:
        say(problem)
