"""Mistakes with changes of lists, with lists of slow servers, and with the end of input."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, set_constant, wire
from conformance.mutants.wire import answer, params_of, results_of
from dynamic_mcp.frontend import bridge, running
from dynamic_mcp.frontend.changes import ListChanges
from dynamic_mcp.frontend.finder import Finder
from dynamic_mcp.frontend.patience import Patience, listing_within
from dynamic_mcp.frontend.storms import CallProgress
from dynamic_mcp.groups.listing import Freshness

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine
    from typing import Any

    from conformance.mutants.wire import Changed, Message, Way
    from dynamic_mcp.frontend.running import RunningCalls
    from dynamic_mcp.groups.group import Group
    from dynamic_mcp.groups.listing import Kind, Listing

PROMPTS_CHANGED = "notifications/prompts/list_changed"


@mutant("FRONT-120", also={"FRONT-124": "an undeclared notification is announced too"})
def announces_each_start_of_a_server() -> None:
    replace(ListChanges.suspect, _announce_each)
    replace(ListChanges.certain, _announce_each)


@mutant("FRONT-120", also={"FRONT-124": "an undeclared notification is announced too"})
def announces_starts_before_the_first_list() -> None:
    replace(ListChanges.was_answered, lambda self, method: True)
    replace(ListChanges.suspect, _announce_each)
    replace(ListChanges.certain, _announce_each)


@mutant("FRONT-121", also={"FRONT-122": "it waits for the slow servers"})
def waits_for_the_slowest_server() -> None:
    async def wrong(
        self: Patience,
        group: Group,
        kind: Kind,
        freshness: Freshness = Freshness.REQUESTED,
        within: float | None = None,
    ) -> Listing | None:
        return await listing_within(group, kind, group.timeout(kind), freshness)

    replace(Patience.listing, wrong)


@mutant("FRONT-121")
def does_not_say_what_a_list_lacks() -> None:
    replace(bridge.meta_of_list, lambda missing, *, modern: b"")


@mutant("FRONT-176")
def waits_for_all_lists_before_a_read() -> None:
    async def wrong(
        self: Finder, group: Group, kind: Kind, freshness: Freshness = Freshness.KNOWN
    ) -> Collection[str] | None:
        return await self.names(group, kind, freshness)

    # Private: only a search among the groups waits for less than the call.
    replace(Finder._names_soon, wrong)


@mutant("FRONT-122", also={"FRONT-124": "a change that is not declared is announced neither"})
def forgets_what_a_list_lacked() -> None:
    right = ListChanges.suspect

    def wrong(self: ListChanges, method: str) -> None:
        # Private: only here does a change that a server announces differ from another one.
        if method in self._certain:
            right(self, method)

    replace(right, wrong)


@mutant("FRONT-123", also={"FRONT-032": "the notifications of a storm pass too"})
def passes_each_notification_on() -> None:
    wire.to_client.watch()

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == PROMPTS_CHANGED:
            wire.to_client.send(message)
        return message

    wire.from_stdio_upstreams(wrong)


@mutant("FRONT-124", also={"FRONT-071": "without an announcement, it takes its own list for the current one"})
def takes_every_server_for_one_that_declares_changes() -> None:
    """It reads the member, and not its value."""

    def wrong(result: Message) -> Message:
        capabilities = result["capabilities"]
        if "listChanged" in capabilities.get("prompts", {}):
            capabilities = {**capabilities, "prompts": {"listChanged": True}}
        return {**result, "capabilities": capabilities}

    wire.from_stdio_upstreams(results_of("initialize", wrong))


@mutant("FRONT-125")
def keeps_the_token_of_the_first_request() -> None:
    wire.to_client(params_of("notifications/progress", lambda params: {**params, "progressToken": "first"}))


@mutant("FRONT-125")
def reports_progress_while_no_request_waits() -> None:
    replace(CallProgress.end, CallProgress.flush)


@mutant(
    "OPS-046",
    also=dict.fromkeys(("OPS-025", "OPS-047"), "the last requests get no answers"),
)
def drops_the_calls_in_flight_at_the_end_of_input() -> None:
    async def wrong(self: RunningCalls, gone: Coroutine[Any, Any, None]) -> None:
        gone.close()

    replace(running.RunningCalls.finish, wrong)


@mutant("OPS-046", also={"OPS-047": "a piped call of a server that hangs gets the same answer"})
def answers_the_last_calls_with_an_empty_success() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        is_unanswered = running.NO_TIME in json.dumps(message)
        return answer(message, result={"content": []}) if is_unanswered else message

    wire.to_client(wrong)


@mutant("OPS-046")
def waits_for_the_last_calls_longer_than_its_client() -> None:
    set_constant(running, "LAST_ANSWERS", 4.0)


@mutant("OPS-047", also={"OPS-046": "a call in flight has no answer either"})
def waits_and_then_drops_the_piped_calls_that_hang() -> None:
    async def wrong(self: RunningCalls, gone: Coroutine[Any, Any, None]) -> None:
        gone.close()
        await asyncio.sleep(3.0)

    replace(running.RunningCalls.finish, wrong)


def _announce_each(self: ListChanges, method: str) -> None:
    # Private, because only this method of the public relay sends the notification.
    self._announce(method)
