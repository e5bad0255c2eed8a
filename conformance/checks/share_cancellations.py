"""SHARE-003: a cancellation of one client, and the requests of another one with the same id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.share import (
    HELD,
    PATIENCE,
    QUIET,
    answer_to,
    answers,
    must_be_right,
    reaches_or_waits,
    with_argument,
)
from conformance.workbench.exposed import declares, exposed_uri
from conformance.workbench.several_clients import clients_of_one_program
from mock_servers.script import Rule, Script, hold, on_call, release, reply

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: the resources of two clients that read; the read of the first one stays
_STAYS, _GOES = "share://stays", "share://goes"


@check("SHARE-003", timeout=90)
async def a_client_cancels_its_own_requests_only(workbench: Workbench) -> None:
    """Both clients have a call with the same id, and each one in turn cancels its own."""
    rules = []
    for number in (1, 2):
        go = f"go {number}"
        rules += [
            on_call("echo", hold(go, HELD), reply(), params=with_argument(x=f"stays {number}")),
            on_call("echo", hold("never", HELD), reply(), params=with_argument(x=f"goes {number}")),
            on_call("echo", release(go), reply(), params=with_argument(x=f"release {number}")),
        ]
    rules.append(on_call("echo", release("go read"), reply(), params=with_argument(x="release read")))
    held = {_STAYS: "go read", _GOES: "never"}
    rules += [
        Rule("resources/read", [hold(go, HELD), reply()], params={"uri": uri}) for uri, go in held.items()
    ]
    resources = [{"uri": uri, "name": uri.partition("//")[2]} for uri in held]
    upstream = workbench.stdio("a", Script(resources=resources, on=rules))
    async with clients_of_one_program(workbench, upstream) as (first, second):
        with workbench.case("the second client cancels"):
            await _one_cancels_a_call(workbench, upstream, second, other=first, number=1)
        with workbench.case("the first client cancels"):
            await _one_cancels_a_call(workbench, upstream, first, other=second, number=2)
        if declares(first, "resources"):
            with workbench.case("the second client cancels a read"):
                await _one_cancels_a_read(workbench, upstream, second, other=first)


async def _one_cancels_a_call(
    workbench: Workbench, upstream: MockUpstream, cancelling: Proxy, *, other: Proxy, number: int
) -> None:
    for client, word in ((other, f"stays {number}"), (cancelling, f"goes {number}")):
        await client.begin("tools/call", client.call_params("a", "echo", {"x": word}), id=number)
        await reaches_or_waits(workbench, upstream, word)
    await _must_go_on(workbench, cancelling, other, number, f"stays {number}", f"release {number}")


async def _one_cancels_a_read(
    workbench: Workbench, upstream: MockUpstream, cancelling: Proxy, *, other: Proxy
) -> None:
    number = 3
    for client, uri in ((other, _STAYS), (cancelling, _GOES)):
        shown = await exposed_uri(client, "a", uri)
        await client.begin("resources/read", {"uri": shown}, id=number)
        await reaches_or_waits(workbench, upstream, uri)
    await _must_go_on(workbench, cancelling, other, number, _STAYS, "release read")


async def _must_go_on(
    workbench: Workbench, cancelling: Proxy, other: Proxy, number: int, stays: str, releases: str
) -> None:
    """Cancel this request of one client: that of the other one, with the word `stays`, has its result after a call with `releases`.

    Whether the cancelled request itself ends is another matter (FRONT-024).
    """
    await cancelling.notify("notifications/cancelled", {"requestId": number})
    await workbench.holds_for(QUIET, lambda: _goes_on(workbench, other, number))
    further = await cancelling.call("a", "echo", {"x": 1}, within=PATIENCE)
    must_be_right(workbench, further.message, "a further call")
    await other.call("a", "echo", {"x": releases}, within=PATIENCE)
    answer = await answer_to(workbench, other, number, "the other client has its answer")
    must_be_right(workbench, answer, "the request")
    foreign = [one for one in answers(cancelling, number) if stays in str(one)]
    workbench.expect(not foreign, "no answer of the other client for the cancelled request", foreign)


def _goes_on(workbench: Workbench, proxy: Proxy, id: object) -> None:
    """The request has no answer yet, or its result, because a held one ends by itself."""
    for answer in answers(proxy, id):
        must_be_right(workbench, answer, "the request of the other client goes on, so it")
