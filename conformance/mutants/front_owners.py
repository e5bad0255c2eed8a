"""Mistakes about who owns a name, sends a notification or asks a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, wire
from dynamic_mcp.frontend import attribution, owners
from dynamic_mcp.frontend.owners import NameOwners
from dynamic_mcp.groups.group import Group

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way


@mutant("FRONT-036")
def a_qualified_name_is_a_name_like_any_other() -> None:
    """The first group that lists a name gets it, even if the name begins with the name of another group."""
    right = owners.qualified_name

    def wrong(group: str, own: str, *others: object) -> str | None:
        return f"{group}/{own}"

    replace(right, wrong)
    replace(owners.owner_by_prefix, lambda name, groups: None)


@mutant("FRONT-036")
def another_group_takes_over_the_names_of_a_group_that_is_down() -> None:
    replace(Group.last_names, lambda self, kind: ())
    replace(NameOwners.claimants, lambda self, kind, name, groups: groups)


@mutant("FRONT-037")
def relays_updates_of_any_group() -> None:
    _counts_for_all_groups("notifications/resources/updated")


@mutant("FRONT-037")
def relays_the_end_of_an_elicitation_from_any_group() -> None:
    _counts_for_all_groups("notifications/elicitation/complete")


@mutant("FRONT-037")
def relays_progress_of_any_group() -> None:
    _counts_for_all_groups("notifications/progress")


def _counts_for_all_groups(method: str) -> None:
    """A notification of one upstream also comes on the connections of the others."""

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == method:
            for other in wire.from_stdio_upstreams.ways:
                if other is not way:
                    other.send(message)
        return message

    wire.from_stdio_upstreams(wrong)


@mutant("FRONT-038")
def passes_questions_on_without_a_name() -> None:
    replace(attribution.attributed, lambda group, method, params: params)


@mutant("FRONT-038")
def names_the_server_in_requests_only() -> None:
    """The questions in results of modern upstreams stay without a name."""
    replace(attribution.attributed_result, lambda group, result: result)


@mutant("FRONT-038")
def names_the_server_in_elicitations_only() -> None:
    right = attribution.attributed

    def wrong(group: str, method: str, params: bytes) -> bytes:
        return right(group, method, params) if method == "elicitation/create" else params

    replace(right, wrong)
