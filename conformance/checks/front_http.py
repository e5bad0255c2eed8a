"""FRONT: the answers of a program that listens for its client over Streamable HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.errors import NotApplicable

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench


@check("FRONT-160", timeout=30)
async def messages_are_answered_as_streamable_http_demands(workbench: Workbench) -> None:
    client = workbench.sut.profile.client
    if client.transport != "http":
        raise NotApplicable("the client does not reach the program over Streamable HTTP")
    upstream = workbench.stdio("a")
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("a", "echo", {"x": 1})
        with workbench.precondition("a call in the session"):
            workbench.expect(not result.is_error, "it succeeds", result.raw)
        for deviation in proxy.deviations:
            raise deviation
