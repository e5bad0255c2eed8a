"""Checks the arguments of calls against the ``inputSchema`` of the tool.

A separate process evaluates the schemas (``policy.checker`` says why). It starts with the first call and ends with the group. A call is
refused if its arguments do not fit, take too long to check, or cannot be checked, for example without the library. A schema that is
broken, or takes too long with any arguments, is a mistake of the server. Its tool stays usable without a check, and a warning says so
once. The check does not change the arguments.

With every schema, the check refuses an object that has a member twice. The check would read one of the values, and the server perhaps
the other.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import CallRefused, UpstreamError, UpstreamGone
from dynamic_mcp.log import log
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol.jsonrpc import format_size
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import NullEvents
from dynamic_mcp.upstream.stdio import StdioUpstream

#: The command of the checker. With -P it imports nothing from its own folder or from the current one.
COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("checker.py")))
#: Seconds for the start of the checker, and for one check. The checker itself limits the processor time.
CHECK_TIMEOUT = 10.0
#: The largest schema and the largest arguments in bytes.
MAX_SCHEMA = 1 << 20
MAX_ARGS = 4 << 20
#: Characters of a schema in an error.
MAX_SHOWN = 16_384

_MISSING = (
    "validate_arguments is set for this server, but the library for the check is not installed; "
    "the operator can install it: pip install 'dynamic-mcp-reference[validation]'"
)


class _Verdict(msgspec.Struct):
    problems: list[_Problem] = []
    #: the paths of members that an object has more than once
    repeated: list[list[str]] = []
    broken: str | None = None
    missing: bool = False


class _Problem(msgspec.Struct):
    path: list[str]
    text: str


class _Tool(msgspec.Struct):
    """The definition of a tool, and the state of its check."""

    definition: bytes
    schema: bytes
    #: whether the checker has this schema
    is_sent: bool = False
    unchecked: bool = False


class _Definition(msgspec.Struct):
    schema: Raw = msgspec.field(name="inputSchema", default=Raw(b""))


class ArgumentCheck:
    """The check for the tools of one server."""

    def __init__(self, server: str, guard: Guard) -> None:
        self._server = server
        self._guard = guard
        self._tools: dict[str, _Tool] = {}
        #: tools with a schema that took too long; they stay unchecked even with another definition
        self._expensive: set[str] = set()
        self._checker: StdioUpstream | None = None
        # One check at a time, so that the check that ends the checker is known.
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def check(self, name: str, definition: Raw, args: bytes) -> None:
        """Check the arguments of a call. Raises CallRefused with the problems and the schema."""
        tool = self._tool(name, bytes(definition))
        if len(args) > MAX_ARGS:
            raise CallRefused(
                f"the arguments are larger than {format_size(MAX_ARGS)}, the limit of the check"
            )
        async with self._lock:
            verdict = await self._verdict(name, tool, args)
            if verdict.broken is not None:
                tool.unchecked = True
                log.warning(
                    "group %s: the arguments of tool %r are not checked, because its input schema cannot be used: %s",
                    self._server,
                    name,
                    verdict.broken,
                )
                verdict = await self._verdict(name, tool, args)
        if verdict.missing:
            raise CallRefused(_MISSING)
        if verdict.repeated:
            raise CallRefused(_format_repeated(name, verdict.repeated))
        if verdict.problems:
            raise CallRefused(_format_problems(name, verdict.problems, tool.schema))

    async def close(self) -> None:
        """End the checker for good. Bounded, not cancellable; a second call does nothing."""
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            async with self._lock:
                await self._end()

    def _tool(self, name: str, definition: bytes) -> _Tool:
        known = self._tools.get(name)
        if known is None or known.definition != definition:
            schema = bytes(msgspec.json.decode(definition, type=_Definition).schema)
            known = _Tool(definition, schema, unchecked=not schema or name in self._expensive)
            self._tools[name] = known
        return known

    async def _verdict(self, name: str, tool: _Tool, args: bytes) -> _Verdict:
        if len(tool.schema) > MAX_SCHEMA and not tool.unchecked:
            return _Verdict(broken=f"it is larger than {format_size(MAX_SCHEMA)}")
        if (verdict := await self._run_check(name, tool, args)) is not None:
            return verdict
        if tool.unchecked:
            raise CallRefused("the check of these arguments for members that come twice takes too long")
        if args != b"{}" and await self._run_check(name, tool, b"{}") is not None:
            # Only these arguments take too long. The author of arguments must not be able to switch the check off.
            raise CallRefused("the check of these arguments against the tool's input schema takes too long")
        self._expensive.add(name)
        return _Verdict(broken="any check against it takes too long")

    async def _run_check(self, name: str, tool: _Tool, args: bytes) -> _Verdict | None:
        """The verdict of the checker; None if the check ended the checker. Raises CallRefused without a checker."""
        try:
            checker = await self._started()
        except UpstreamError as error:
            raise CallRefused(
                f"the arguments cannot be checked: the checker did not start: {error}"
            ) from None
        method, params = "check", {"tool": name, "args": args.decode()}
        if tool.unchecked:
            method, params = "check_members", {"args": args.decode()}
        elif not tool.is_sent:
            params["schema"] = tool.schema.decode()
            tool.is_sent = True
        try:
            answer = await checker.request(method, msgspec.json.encode(params), Options(CHECK_TIMEOUT))
        except UpstreamError:
            await self._end()
            return None
        return msgspec.json.decode(answer, type=_Verdict)

    async def _started(self) -> StdioUpstream:
        if self._is_closed:
            raise UpstreamGone("its server has been removed")
        if self._checker is not None and self._checker.is_gone:
            await self._end()
        if self._checker is None:
            checker = StdioUpstream(StdioTransport(COMMAND[0], COMMAND[1:], ()), NullEvents(), self._guard)
            try:
                await checker.open(CHECK_TIMEOUT, skip_probe=True)
            except BaseException:
                await checker.close()
                raise
            self._checker = checker
        return self._checker

    async def _end(self) -> None:
        checker, self._checker = self._checker, None
        for tool in self._tools.values():
            tool.is_sent = False
        if checker is not None:
            await checker.close()


def _format_problems(name: str, problems: list[_Problem], schema: bytes) -> str:
    lines = "\n".join(f"- {_json_pointer(problem.path)}: {problem.text}" for problem in problems)
    text = schema.decode()
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... (get_dynamic_tools has all of it)"
    return (
        f"the arguments of {name!r} do not fit its input schema:\n{lines}\nInput schema of the tool: {shown}"
    )


def _format_repeated(name: str, repeated: list[list[str]]) -> str:
    lines = "\n".join(f"- {_json_pointer(path)}" for path in repeated)
    return f"the arguments of {name!r} contain a member more than once; write each member once:\n{lines}"


def _json_pointer(path: list[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)
    return pointer or "the arguments"
