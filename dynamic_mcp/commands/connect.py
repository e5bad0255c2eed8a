"""``dynamic-mcp connect``: connects a client on stdio to a proxy that serves over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.terminal import event_loop_options, fail


def parser() -> Parser:
    """The argument parser of the command."""
    result = Parser(
        prog="dynamic-mcp connect",
        description="Connect a client on stdin and stdout to a proxy that serves over HTTP.",
        allow_abbrev=False,
    )
    result.add_argument("url", metavar="URL", help="the address that `dynamic-mcp serve` printed")
    result.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of the proxy; without it, the variable DYNAMIC_MCP_TOKEN",
    )
    result.add_log_level()
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status."""
    command_line = parser()
    options = command_line.parse_args(words)

    import anyio

    from dynamic_mcp import log
    from dynamic_mcp.errors import ConfigError
    from dynamic_mcp.extras.serving.connect import connect
    from dynamic_mcp.extras.serving.token import token_from
    from dynamic_mcp.frontend.client import take_over_stdio
    from dynamic_mcp.origin import NO_WEB_ADDRESS, is_plain, is_web_address

    if not is_web_address(options.url):
        command_line.error(f"the URL {NO_WEB_ADDRESS}")
    log.configure(options.log_level)
    try:
        token = token_from(options.token_file, os.environ)
    except ConfigError as error:
        fail(*error.lines)
    if token is not None and is_plain(options.url):
        log.log.warning("others can read the token on the network, because the URL is not https://")
    source, sink = take_over_stdio()
    return anyio.run(connect, options.url, token, source, sink, backend_options=event_loop_options())
