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
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.script import Rule

_KINDS = ("prompts", "resources")
#: the entries of the server that a reload removes
_LEAVING = "leaving-entry"


@check("SHARE-012", timeout=40)
async def each_client_hears_of_changed_lists(workbench: Workbench) -> None:
    """A call of each client makes a change, because a client may have a process of its own. Then a reload removes a server."""
    script = Script(
        prompts=[{"name": "old"}],
        resources=[{"uri": "share://old", "name": "old"}],
        on=[_changes("first"), _changes("second")],
    )
    upstream = workbench.stdio("a", script)
    entries = Script(
        prompts=[{"name": _LEAVING}], resources=[{"uri": f"share://{_LEAVING}", "name": _LEAVING}]
    )
    leaving = [workbench.stdio("leaving", entries)] if workbench.has("RLD") else []
    async with clients_of_one_program(workbench, upstream, *leaving) as (first, second):
        kinds = [kind for kind in _KINDS if declares(first, kind, "listChanged")]
        if not kinds:
            raise NotApplicable("it declares listChanged neither for prompts nor for resources")
        with workbench.precondition("both clients have the lists"):
            # A proxy need not announce a list that the client never asked for.
            for client in (first, second):
                for kind in kinds:
                    for name in ("old", *(_LEAVING for _ in leaving)):
                        await shows(workbench, name, partial(client.pages, f"{kind}/list", kind))
        for caller, name in ((first, "first"), (second, "second")):
            hearers = [first, second] if workbench.sut.profile.client.shares else [caller]
            before = {one: _heard(one, kinds) for one in hearers}
            await caller.call("a", "echo", {"change": name})
            for hearer in hearers:
                who = "the client of the call" if hearer is caller else "the other client"
                with workbench.case(f"{who}, after a call of the {name} one"):
                    for kind in kinds:
                        await _hears(workbench, hearer, kind, before[hearer][kind])
                        await shows(workbench, f"new-of-{name}", partial(hearer.pages, f"{kind}/list", kind))
        if leaving:
            await _must_hear_of_a_removal(workbench, upstream, {"first": first, "second": second}, kinds)


async def _must_hear_of_a_removal(
    workbench: Workbench, kept: MockUpstream, clients: dict[str, Proxy], kinds: list[str]
) -> None:
    """Raise `Violation` unless each client hears that the lists lose the entries of a server, and gets the new ones."""
    before = {name: _heard(client, kinds) for name, client in clients.items()}
    program = clients["first"].program
    assert program is not None
    assert program.config is not None
    workbench.save(program.config, kept)
    for name, client in clients.items():
        with workbench.case(f"the {name} client, after a reload that removes a server"):
            for kind in kinds:
                await _hears(workbench, client, kind, before[name][kind], within=10.0)
                items = await client.items(f"{kind}/list", kind)
                workbench.expect(_LEAVING not in str(items), f"{kind} without those of the server", items)


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


def _heard(client: Proxy, kinds: list[str]) -> dict[str, int]:
    return {kind: len(client.transcript.heard(_announced(kind))) for kind in kinds}


async def _hears(workbench: Workbench, client: Proxy, kind: str, before: int, within: float = 5.0) -> None:
    method = _announced(kind)
    await workbench.eventually(
        lambda: client.transcript.heard(method)[before:], within=within, what=f"{method} reaches it"
    )
