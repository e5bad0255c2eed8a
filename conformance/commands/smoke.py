"""One call through one upstream: tells "your command is wrong" from "your implementation is wrong".

The steps are those that every check depends on. The first one that fails decides who has to act: as long as
the program does not answer `initialize` the command line is the likelier culprit, afterwards it is the
implementation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from conformance.errors import ConformanceError, HarnessError
from conformance.model.verdicts import leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.sut import Sut

START = "start the command and answer initialize"
LIST = "list the tools of one stdio upstream"
CALL = "call one tool of that upstream"

SECONDS = 30.0


@dataclass(frozen=True)
class SmokeResult:
    """`failed` is the step that did not work, None when all did."""

    failed: str | None
    reason: str = ""
    stderr: str = ""
    harness_broke: bool = False

    @property
    def advice(self) -> str:
        if self.failed is None:
            return "The command works; run the conformance checks."
        if self.harness_broke:
            return "The runner itself broke; this says nothing about your command."
        if self.failed == START:
            return "Your command is wrong, or it does not speak MCP on stdin and stdout. Try it by hand."
        return "Your command is right: it speaks MCP. Your implementation is wrong at this step."


async def smoke(
    sut: Sut, *, open_workbench: WorkbenchFactory, on_step: Callable[[str], None] = lambda step: None
) -> SmokeResult:
    """Walk through the steps, calling `on_step` with each one that worked."""
    step = START
    workbench = None
    try:
        with anyio.fail_after(SECONDS):
            async with open_workbench(sut, "SMOKE", keep=False) as workbench:
                upstream = workbench.stdio("a")
                async with workbench.proxy(upstream) as proxy:
                    await proxy.handshake()
                    on_step(step)
                    step = LIST
                    await proxy.ready("a")
                    on_step(step)
                    step = CALL
                    answer = await proxy.call("a", "echo", {"x": 1})
                    if answer.is_error:
                        return SmokeResult(step, f"the call was answered with an error: {answer.text}")
                    on_step(step)
    except Exception as error:
        first = leaves(error)[0]
        foreseen = isinstance(first, ConformanceError | TimeoutError | OSError) and not isinstance(
            first, HarnessError
        )
        stderr = workbench.evidence.stderr_tail if workbench is not None else ""
        reason = f"no end within {SECONDS:g} s" if type(first) is TimeoutError else str(first) or repr(first)
        return SmokeResult(step, reason, stderr, harness_broke=not foreseen)
    return SmokeResult(None)
