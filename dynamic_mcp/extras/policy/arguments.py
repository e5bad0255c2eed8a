"""Whether the arguments of a call are what the tool's ``inputSchema`` asks for.

The schemas are tried in a process of their own (``policy.checker`` says why), which is started with the first call and ends with the group.
Arguments that do not fit, take too long to check, or cannot be checked because the library is not installed, are refused. A schema that
is broken, or takes too long with any arguments, is the server's mistake: its tool goes on unchecked, and stderr says so once. The
arguments themselves are not touched.
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
from dynamic_mcp.upstream.base import NullEvents, Options
from dynamic_mcp.upstream.stdio import StdioUpstream

#: The command of the checker. -P: nothing that lies beside it or where the proxy was started is imported.
COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("checker.py")))
#: Seconds for the checker to start, and for one check of it (its own limit is about processor time).
PATIENCE = 10.0
#: Bytes of the largest schema and of the largest arguments that are looked at.
MAX_SCHEMA = 1 << 20
MAX_ARGS = 4 << 20
#: Characters of a schema that go into an error.
MAX_SHOWN = 16_384

_MISSING = (
    "validate_arguments is set for this server, and what checks the arguments is not installed; "
    "the operator can mend that: pip install 'dynamic-mcp-reference[validation]'"
)


class _Verdict(msgspec.Struct):
    problems: list[_Problem] = []
    broken: str | None = None
    missing: bool = False


class _Problem(msgspec.Struct):
    path: list[str]
    text: str


class _Tool(msgspec.Struct):
    """The definition of a tool, and whether its arguments are checked."""

    definition: bytes
    schema: bytes
    #: whether the checker has this schema
    sent: bool = False
    unchecked: bool = False


class _Definition(msgspec.Struct):
    schema: Raw = msgspec.field(name="inputSchema", default=Raw(b""))


class ArgumentCheck:
    """The check for the tools of one server."""

    def __init__(self, server: str, guard: Guard) -> None:
        self._server = server
        self._guard = guard
        self._tools: dict[str, _Tool] = {}
        #: tools whose schema took too long once: another definition does not get another chance
        self._expensive: set[str] = set()
        self._checker: StdioUpstream | None = None
        # One check at a time, so that the one that ends the checker is known.
        self._turn = asyncio.Lock()
        self._over = False

    async def check(self, name: str, definition: Raw, args: bytes) -> None:
        """Return when the arguments may pass. Raises CallRefused, with what is wrong and the schema."""
        tool = self._tool(name, bytes(definition))
        if tool.unchecked:
            return
        if len(args) > MAX_ARGS:
            raise CallRefused(
                f"the arguments are larger than {format_size(MAX_ARGS)}, which is the most that is checked"
            )
        async with self._turn:
            verdict = await self._verdict(name, tool, args)
        if verdict.missing:
            raise CallRefused(_MISSING)
        if verdict.broken is not None:
            tool.unchecked = True
            log.warning(
                "group %s: the arguments of tool %r are not checked, because its input schema cannot be used: %s",
                self._server,
                name,
                verdict.broken,
            )
        if verdict.problems:
            raise CallRefused(_explained(name, verdict.problems, tool.schema))

    async def close(self) -> None:
        """End the checker, for good. Bounded, not cancellable, and may be repeated."""
        self._over = True
        with anyio.CancelScope(shield=True):
            async with self._turn:
                await self._end()

    def _tool(self, name: str, definition: bytes) -> _Tool:
        known = self._tools.get(name)
        if known is None or known.definition != definition:
            schema = bytes(msgspec.json.decode(definition, type=_Definition).schema)
            known = _Tool(definition, schema, unchecked=not schema or name in self._expensive)
            self._tools[name] = known
        return known

    async def _verdict(self, name: str, tool: _Tool, args: bytes) -> _Verdict:
        if len(tool.schema) > MAX_SCHEMA:
            return _Verdict(broken=f"it is larger than {format_size(MAX_SCHEMA)}")
        if (verdict := await self._ask(name, tool, args)) is not None:
            return verdict
        if args != b"{}" and await self._ask(name, tool, b"{}") is not None:
            # It is these arguments: whoever chooses them must not be able to switch the check off.
            raise CallRefused("to check these arguments against the tool's input schema takes too long")
        self._expensive.add(name)
        return _Verdict(broken="to check anything against it takes too long")

    async def _ask(self, name: str, tool: _Tool, args: bytes) -> _Verdict | None:
        """What the checker says; None when it did not survive that. Raises CallRefused when there is no checker."""
        try:
            checker = await self._started()
        except UpstreamError as error:
            raise CallRefused(
                f"the arguments cannot be checked: the checker did not start, {error}"
            ) from None
        asked = {"tool": name, "args": args.decode()}
        if not tool.sent:
            asked["schema"] = tool.schema.decode()
            tool.sent = True
        try:
            answer = await checker.request("check", msgspec.json.encode(asked), Options(PATIENCE))
        except UpstreamError:
            await self._end()
            return None
        return msgspec.json.decode(answer, type=_Verdict)

    async def _started(self) -> StdioUpstream:
        if self._over:
            raise UpstreamGone("its server is not served any more")
        if self._checker is not None and self._checker.is_gone:
            await self._end()
        if self._checker is None:
            checker = StdioUpstream(StdioTransport(COMMAND[0], COMMAND[1:], ()), NullEvents(), self._guard)
            try:
                await checker.open(PATIENCE, skip_probe=True)
            except BaseException:
                await checker.close()
                raise
            self._checker = checker
        return self._checker

    async def _end(self) -> None:
        checker, self._checker = self._checker, None
        for tool in self._tools.values():
            tool.sent = False
        if checker is not None:
            await checker.close()


def _explained(name: str, problems: list[_Problem], schema: bytes) -> str:
    lines = "\n".join(f"- {_place(problem.path)}: {problem.text}" for problem in problems)
    text = schema.decode()
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... (get_dynamic_tools has all of it)"
    return (
        f"the arguments of {name!r} do not fit its input schema:\n{lines}\nInput schema of the tool: {shown}"
    )


def _place(path: list[str]) -> str:
    """A JSON pointer (RFC 6901)."""
    pointer = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)
    return pointer or "the arguments"
