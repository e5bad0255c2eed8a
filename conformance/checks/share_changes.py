"""SHARE: changes of a server reach each client of a program."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.front_notifications import shows
from conformance.checks.share import with_argument
from conformance.errors import NotApplicable
from conformance.workbench.exposed import declares
from conformance.workbench.several_clients import clients_of_one_program
from mock_servers.script import Script, list_changed, on_call, reply, set_prompts, set_resources

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Rule

_KINDS = ("prompts", "resources")


@check("SHARE-012", timeout=40)
async def each_client_hears_of_changed_lists(workbench: Workbench) -> None:
    """A call of each client makes a change, because a client may have a process of its own."""
    script = Script(
        prompts=[{"name": "old"}],
        resources=[{"uri": "share://old", "name": "old"}],
        on=[_changes("first"), _changes("second")],
    )
    upstream = workbench.stdio("a", script)
    async with clients_of_one_program(workbench, upstream) as (first, second):
        kinds = [kind for kind in _KINDS if declares(first, kind, "listChanged")]
        if not kinds:
            raise NotApplicable("it declares listChanged neither for prompts nor for resources")
        with workbench.precondition("both clients have the lists"):
            # A proxy need not announce a list that the client never asked for.
            for client in (first, second):
                for kind in kinds:
                    await shows(workbench, "old", partial(client.pages, f"{kind}/list", kind))
        for caller, name in ((first, "first"), (second, "second")):
            hearers = [first, second] if workbench.sut.profile.client.shares else [caller]
            before = {
                one: {kind: len(one.transcript.heard(_announced(kind))) for kind in kinds} for one in hearers
            }
            await caller.call("a", "echo", {"change": name})
            for hearer in hearers:
                who = "the client of the call" if hearer is caller else "the other client"
                with workbench.case(f"{who}, after a call of the {name} one"):
                    for kind in kinds:
                        await _hears(workbench, hearer, kind, f"new-of-{name}", before[hearer][kind])


def _changes(name: str) -> Rule:
    new = f"new-of-{name}"
    changes = [
        set_prompts([{"name": new}]),
        set_resources([{"uri": f"share://{new}", "name": new}]),
        *(list_changed(kind) for kind in _KINDS),
    ]
    return on_call("echo", *changes, reply(), params=with_argument(change=name))


def _announced(kind: str) -> str:
    return f"notifications/{kind}/list_changed"


async def _hears(workbench: Workbench, client: Proxy, kind: str, new: str, before: int) -> None:
    method = _announced(kind)
    await workbench.eventually(
        lambda: client.transcript.heard(method)[before:], within=5.0, what=f"{method} reaches it"
    )
    await shows(workbench, new, partial(client.pages, f"{kind}/list", kind))
