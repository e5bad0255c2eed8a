"""``dynamic-mcp serve``: serves several clients over Streamable HTTP."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.util import find_spec

from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.terminal import absolute, event_loop_options, fail, required_path, say

_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):)?(?P<port>\d{1,5})")
_DEFAULT = "127.0.0.1:8765"


def parser() -> Parser:
    """The argument parser of the command."""
    result = Parser(
        prog="dynamic-mcp serve",
        description="Serve several clients over Streamable HTTP with one set of servers.",
        allow_abbrev=False,
    )
    result.add_argument("config", nargs="?", metavar="CONFIG", help="the configuration file (JSON)")
    result.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=_DEFAULT,
        help=f"the address (default: {_DEFAULT}); port 0 takes a free one; an address of the network needs a token",
    )
    result.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token that clients need; without it, the variable DYNAMIC_MCP_TOKEN",
    )
    result.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="another name of this proxy in the Host and Origin of requests (repeatable)",
    )
    result.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="the Origin of an application that may send requests, such as tauri://localhost (repeatable)",
    )
    result.add_argument(
        "--linger",
        metavar="TIME",
        default="5min",
        help="how long servers outlive the last client (default: 5min)",
    )
    result.add_log_level()
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    command_line = parser()
    options = command_line.parse_args(words)
    path = absolute(required_path(options.config, command_line))
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        fail("serve needs an extra: pip install 'dynamic-mcp-reference[http]'")

    import anyio

    from dynamic_mcp import log
    from dynamic_mcp.config.load import load
    from dynamic_mcp.errors import ConfigError
    from dynamic_mcp.extras.serving import ENDPOINT
    from dynamic_mcp.extras.serving.door import HttpDoor
    from dynamic_mcp.extras.serving.gate import Gate, is_name, is_origin
    from dynamic_mcp.extras.serving.token import VARIABLE, token_from
    from dynamic_mcp.origin import is_loopback
    from dynamic_mcp.server import serve_many

    linger = command_line.seconds_of("--linger", options.linger)
    address = _ADDRESS.fullmatch(options.listen)
    if address is None or int(address["port"]) > 65535:
        command_line.error("--listen: write HOST:PORT, for example 127.0.0.1:8765 or [::1]:8765")
    for name in options.allow_host:
        if not is_name(name):
            command_line.error(
                f"--allow-host: {name!r} never matches; write the host alone, without scheme, port and path, as in proxy.example"
            )
    for origin in options.allow_origin:
        if not is_origin(origin):
            command_line.error(
                f"--allow-origin: {origin!r} is no origin; write scheme and host, as in tauri://localhost"
            )
    host = (address["host"] or "127.0.0.1").strip("[]")

    def on_listening(host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        say(f"dynamic-mcp: listening at http://{shown}:{port}{ENDPOINT}")

    log.configure(options.log_level)
    try:
        token = token_from(options.token_file, os.environ)
        if not is_loopback(host):
            if token is None:
                fail(
                    f"{host} is an address of the network, so clients need a token: "
                    f"name its file with --token-file, or set {VARIABLE}"
                )
            log.log.warning("others can read the messages at %s; put TLS before it on a network", host)
        config = load(path, os.environ)
        gate = Gate(host, options.allow_host, token, origins=options.allow_origin)
        door = HttpDoor(path, (host, int(address["port"])), gate, linger, on_listening)
        return anyio.run(serve_many, path, config, door, backend_options=event_loop_options())
    except ConfigError as error:
        fail(*error.lines)
