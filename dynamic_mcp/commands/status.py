"""``dynamic-mcp status``: the proxies that serve several sessions, who is attached to them, and which servers run."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.terminal import config_path, fail, say, show

if TYPE_CHECKING:
    from dynamic_mcp.extras.sharing.shape import Report

#: An address without ``http://``: a host and a port, and the path perhaps.
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}(/\S*)?")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def parser() -> Parser:
    """The argument parser of the command."""
    result = Parser(
        prog="dynamic-mcp status",
        description="Show the proxies that serve several clients (--share, serve): their clients, their servers, memory and calls.",
        allow_abbrev=False,
    )
    result.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG|URL",
        help="the proxies with --share of this configuration file, or the proxy at this URL; without it, all of yours with --share",
    )
    result.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of the proxy at the URL; without it, the variable DYNAMIC_MCP_TOKEN",
    )
    result.add_argument("--json", action="store_true", help="print a JSON array, one object for each proxy")
    return result


def main(words: Sequence[str]) -> int:
    """Run the command; its exit status: 0 if a proxy serves, 1 if none does."""
    options = parser().parse_args(words)
    problems: list[str] = []
    named = options.config or ""
    if named.lower().startswith(("http://", "https://")):
        reports = list(_report_at(options.config, options.token_file, problems))
    elif _ADDRESS.fullmatch(named) and not os.path.exists(named):
        fail(f"no file {named}; if a proxy serves at this address, write http://{named}")
    else:
        reports = list(_reports(config_path(options.config, {}), problems))
    if options.json:
        show(json.dumps(reports), most=None)
    for report in [] if options.json else reports:
        show(*_lines(report, time.time()))
    for problem in problems:
        say(f"dynamic-mcp: {problem}")
    if not reports and not problems:
        say("dynamic-mcp: no proxy with --share runs" + (" for this configuration" if options.config else ""))
    return 0 if reports else 1


def _report_at(url: str, token_file: str | None, problems: list[str]) -> Iterator[Report]:
    """What the proxy at a URL tells about itself. ``problems`` gets the reason if none does."""
    from dynamic_mcp.errors import ConfigError
    from dynamic_mcp.extras.serving.ask import NoProxy, served_report
    from dynamic_mcp.extras.serving.token import token_from

    try:
        yield served_report(url, token_from(token_file, os.environ))
    except ConfigError as error:
        fail(*error.lines)
    except NoProxy as error:
        problems.append(str(error))


def _reports(config: str | None, problems: list[str]) -> Iterator[Report]:
    """What each serving process of this user tells about itself. ``problems`` gets those that tell nothing."""
    if sys.platform == "win32":
        fail("status needs a POSIX system")
    import msgspec

    from dynamic_mcp.errors import ConfigError
    from dynamic_mcp.extras.sharing.place import MAX_REPORT, NoProcess, NotServed, all_places
    from dynamic_mcp.extras.sharing.shape import Report

    try:
        places = list(all_places(os.environ))
    except ConfigError as error:
        fail(*error.lines)
    for place in places:
        try:
            connection, found = place.connect({"want": "status"}, MAX_REPORT)
        except TimeoutError:
            problems.append(f"a proxy does not answer ({place.socket})")
            continue
        except NoProcess:
            # The socket of a process that was killed; the next start takes its place.
            continue
        except OSError:
            problems.append(f"a proxy ended its connection without an answer ({place.socket})")
            continue
        except NotServed as refusal:
            problems.append(f"a proxy refuses to answer ({place.socket}): {refusal}")
            continue
        connection.close()
        try:
            report = msgspec.convert(found, Report)
        except msgspec.ValidationError:
            problems.append(f"a proxy of another version, or another program, listens at {place.socket}")
            continue
        if config is None or os.path.realpath(report["config"]) == os.path.realpath(config):
            yield report


def _lines(report: Report, now: float) -> Iterator[str]:
    """The report for a person."""
    yield (
        f"{report['config']}: pid {report['pid']}, version {report['version']}, "
        f"since {_ago(report['since'], now)}, {_size(report['memory'])}"
    )
    for client in report["clients"]:
        name = " ".join(filter(None, (client["name"], client["version"]))) or "a client without a name"
        stalled = "" if client["reads"] else ", does not read"
        yield (
            f"  client {client['number']}: {name} ({client['origin']}), since {_ago(client['since'], now)}, "
            f"calls {client['calls']}, in flight {client['in_flight']}{stalled}"
        )
    for group in report["groups"]:
        users = f"clients {group['clients']}" if group["client"] is None else f"only client {group['client']}"
        state = f"since {_ago(group['since'], now)}" if group["connected"] else "not connected"
        process = f", pid {group['pid']}, {_size(group['memory'])}" if group["pid"] else ""
        yield f"  group {group['name']}: {state}{process}, {users}, requests {group['requests']}"


def _ago(since: float | None, now: float) -> str:
    seconds = max(now - (since or now), 0.0)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(memory: int | None) -> str:
    return "memory unknown" if memory is None else f"{memory / (1 << 20):.0f} MiB"
