"""OPS: how long a client waits, however many requests its own one takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conformance.checks import check
from mock_servers.hostile import HOSTILE
from mock_servers.script import Rule, Script, page, sleep

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

#: seconds for an answer under a timeout of 1 s
MAX_WAIT = 4.0


@check("OPS-014", timeout=40, slow=True)
async def one_timeout_bounds_everything_that_a_request_needs(workbench: Workbench) -> None:
    slow = workbench.stdio("slow", HOSTILE["slow-pages"].script(), timeout={"tools": "1s"})
    pages = [Rule("resources/list", [sleep(0.4), page(1, more=True)], times=30)]
    others = workbench.stdio("others", Script(resources=[], on=pages), timeout={"resources": "1s"})
    async with workbench.serving(slow, others) as proxy:
        await proxy.call("slow", "attack")
        with workbench.case("a call whose list has thirty slow pages"):
            began = time.monotonic()
            await proxy.call("slow", "echo", within=20.0)
            _must_be_in_time(workbench, began)
        with workbench.case("the tools of a group whose list has thirty slow pages"):
            began = time.monotonic()
            await proxy.tools_of("slow", within=20.0)
            _must_be_in_time(workbench, began)
        with workbench.case("a list of thirty slow pages of resources"):
            began = time.monotonic()
            await proxy.request("resources/list", {}, within=20.0)
            _must_be_in_time(workbench, began)
        with workbench.case("a read for which the proxy may list resources"):
            began = time.monotonic()
            await proxy.request("resources/read", {"uri": "unknown:1"}, within=20.0)
            _must_be_in_time(workbench, began)


def _must_be_in_time(workbench: Workbench, began: float) -> None:
    took = time.monotonic() - began
    what = f"an answer within {MAX_WAIT:g} s under a timeout of 1 s"
    workbench.expect(took <= MAX_WAIT, what, f"after {took:.1f} s")
