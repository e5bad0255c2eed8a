"""FRONT: the size of a message to the client."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.errors import NotApplicable
from mock_servers.script import Rule, Script, on_call, reply

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MIB = 1 << 20
MAX_LINE = 8 * MIB
LARGE = "x" * (9 * MIB)
URI = "x://bulky"
RESOURCES: list[dict[str, Any]] = [
    {"uri": f"x://{number}", "name": f"{number}", "description": "d" * (MIB // 4)} for number in range(40)
]


@check("FRONT-182", timeout=60, slow=True)
async def no_message_is_larger_than_common_clients_take(workbench: Workbench) -> None:
    if not workbench.promises("bounded-lines"):
        raise NotApplicable(
            "the profile does not promise a bound for messages to the client (`bounded-lines`)"
        )
    call = on_call("echo", reply({"content": [{"type": "text", "text": LARGE}]}))
    read = Rule("resources/read", [reply({"contents": [{"uri": URI, "text": LARGE}]})])
    large = workbench.stdio(
        "bulky", Script(resources=[*RESOURCES, {"uri": URI, "name": "bulky"}], on=[call, read])
    )
    healthy = workbench.stdio("healthy")
    async with workbench.serving(large, healthy) as several:
        proxy = several.of("bulky")
        await workbench.run_cases(
            partial(_must_be_an_error, workbench, proxy, "tools/call", proxy.call_params("bulky", "echo")),
            partial(_must_be_an_error, workbench, proxy, "resources/read", {"uri": URI}),
            partial(_must_have_pages, workbench, proxy),
        )
        await must_be_echoed(workbench, several.of("healthy"), "healthy", {"x": 1})


async def _must_be_an_error(workbench: Workbench, proxy: Proxy, method: str, params: dict[str, Any]) -> None:
    with workbench.case(method):
        answer = await proxy.request(method, params, within=15.0)
        workbench.expect(answer.is_error, f"an error for a result of {len(LARGE)} bytes", answer.raw[:1000])
        text = answer.text if method == "tools/call" else answer.raw
        workbench.expect("bulky" in text, "a text that names the group", answer.raw[:1000])


async def _must_have_pages(workbench: Workbench, proxy: Proxy) -> None:
    with workbench.case("resources/list"):
        found: list[str] = []
        params: dict[str, Any] = {}
        for _ in RESOURCES:
            answer = await proxy.request("resources/list", params, within=15.0)
            size = len(answer.raw.encode())
            workbench.expect(size <= MAX_LINE, f"a page of at most {MAX_LINE} bytes", f"{size} bytes")
            found += [entry["uri"] for entry in answer.result["resources"]]
            if "nextCursor" not in answer.result:
                break
            params = {"cursor": answer.result["nextCursor"]}
        expected = [*(entry["uri"] for entry in RESOURCES), URI]
        workbench.expect(found == expected, f"each of {expected} once", found)
