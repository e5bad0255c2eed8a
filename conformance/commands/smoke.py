"""One call through one upstream, which distinguishes a wrong command from a wrong implementation.

Every check depends on these steps. A program that does not answer `initialize` points to a wrong command line; a later failure points to
the implementation.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
from msgspec import structs

from conformance.errors import ConformanceError, HarnessError
from conformance.model.verdicts import leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.sut import Sut
    from conformance.workbench.proxy import Proxy

START = "start the command and answer initialize"
LIST = "list the tools of one upstream"
CALL = "call one tool of that upstream"

SECONDS = 30.0
#: seconds for the tools of the upstream in the list
_UNTIL_LISTED = 10.0


@dataclass(frozen=True)
class SmokeResult:
    """`failed` is the step that did not work, or None if all did."""

    failed: str | None
    reason: str = ""
    stderr: str = ""
    harness_broke: bool = False
    #: the program shows the tools of its servers under names of its own, and no profile says so
    flat: bool = False

    @property
    def advice(self) -> str:
        if self.failed is None and self.flat:
            return (
                "The command works. It shows the tools of its servers as tools of its own, and not the two tools of dynamic-mcp: write a"
                " profile with `profile --output FILE -- COMMAND` first, then `run --profile FILE`."
            )
        if self.failed is None:
            return "The command works; run the conformance checks."
        if self.harness_broke:
            return "The runner itself broke; this proves nothing about your command."
        if self.failed == START:
            return (
                "Your command is wrong, or it does not speak MCP on stdin and stdout: try it by hand. For a slow start, set"
                " `starts_within` in a profile; for a program that listens on a port, add a table `[client]`."
            )
        return "Your command is right: it speaks MCP. Your implementation is wrong at this step."


async def smoke(
    sut: Sut, *, open_workbench: WorkbenchFactory, on_step: Callable[[str], None] = lambda step: None
) -> SmokeResult:
    """Take the steps, and call `on_step` with each one that worked.

    Without a profile, a program that shows the tools of its servers directly is started again as one with a flat face.
    """
    result = await _walk(sut, open_workbench, on_step, may_be_flat=not sut.profile.origin)
    if result is not None:
        return result
    sut = replace(sut, profile=structs.replace(sut.profile, face="flat"))
    again = await _walk(sut, open_workbench, lambda step: on_step(step) if step != START else None)
    assert again is not None
    return replace(again, flat=True)


async def _walk(
    sut: Sut,
    open_workbench: WorkbenchFactory,
    on_step: Callable[[str], None],
    *,
    may_be_flat: bool = False,
) -> SmokeResult | None:
    """The result of the steps; None if the program turns out to be flat."""
    step = START
    workbench = proxy = None
    try:
        with anyio.fail_after(SECONDS):
            async with open_workbench(sut, "SMOKE", keep=False) as workbench:
                upstream = workbench.stdio("a")
                async with workbench.proxy(upstream) as proxy:
                    await proxy.handshake()
                    on_step(step)
                    step = LIST
                    if may_be_flat and await _is_flat(proxy, sut):
                        return None
                    await proxy.ready("a")
                    on_step(step)
                    step = CALL
                    answer = await proxy.call("a", "echo", {"x": 1})
                    if answer.is_error:
                        reason = f"the answer to the call is an error: {answer.text or answer.raw}"
                        return SmokeResult(step, reason + _last_message(proxy))
                    on_step(step)
    except Exception as error:
        first = leaves(error)[0]
        expected = isinstance(first, ConformanceError | TimeoutError | OSError) and not isinstance(
            first, HarnessError
        )
        stderr = workbench.evidence.stderr_tail if workbench is not None else ""
        reason = f"no end within {SECONDS:g} s" if type(first) is TimeoutError else str(first) or repr(first)
        if proxy is not None and step != START:
            reason += _last_message(proxy)
        return SmokeResult(step, reason, stderr, harness_broke=not expected)
    return SmokeResult(None)


def _last_message(proxy: Proxy) -> str:
    sent = [line.text for line in proxy.transcript.lines if line.sent]
    return f"\nthe last message to your program: {sent[-1]}" if sent else ""


async def _is_flat(proxy: Proxy, sut: Sut) -> bool:
    """Whether the list has none of the two tools of a dynamic face, but the tool of the server, at once or soon."""
    if sut.profile.face != "dynamic":
        return False
    deadline = time.monotonic() + _UNTIL_LISTED
    while True:
        names = [str(one.get("name")) for one in await proxy.items("tools/list", "tools")]
        if set(names) & set(sut.profile.tools.values()):
            return False
        if any("echo" in name for name in names):
            return True
        if time.monotonic() > deadline:
            return False
        await anyio.sleep(0.2)
