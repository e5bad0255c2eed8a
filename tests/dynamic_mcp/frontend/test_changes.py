"""Changes of lists: only a list that the client has, only a difference, and one notification for several events."""

from __future__ import annotations

from dynamic_mcp.frontend.changes import ListChanges, View
from dynamic_mcp.protocol.jsonrpc import Refusal
from tests.dynamic_mcp.helpers import eventually

PROMPTS = "notifications/prompts/list_changed"


class Client:
    """A client that has listed, and the list as it is now."""

    def __init__(self, **parts: bytes) -> None:
        self.told: list[str] = []
        self.changes = ListChanges(self.told.append)
        self.now = View(parts)
        self.lists()

    def lists(self, began: int | None = None) -> None:
        began = self.changes.events(PROMPTS) if began is None else began
        self.changes.answered(PROMPTS, "all", self.now, self._make, began)

    async def settled(self) -> int:
        """How many notifications came until everything was compared."""
        await eventually(
            lambda: not self.changes._waiting and not self.changes._tasks._tasks, "the lists are compared"
        )
        count = len(self.told)
        self.told.clear()
        return count

    async def _make(self) -> View:
        return self.now


async def test_only_a_difference_is_announced() -> None:
    client = Client(a=b"1")
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 0
    client.now = View({"a": b"2"})
    client.changes.suspect(PROMPTS)
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 1
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 0


async def test_a_part_that_cannot_be_had_is_unchanged_until_it_is_another_one() -> None:
    client = Client(a=b"1", b=b"1")
    client.now = View({"a": b"1"}, frozenset({"b"}))
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 0
    client.now = View({"a": b"1", "b": b"1"})
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 0
    client.now = View({"a": b"1"})
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 1


async def test_another_order_is_a_change() -> None:
    client = Client(a=b"1", b=b"1")
    client.now = View({"b": b"1", "a": b"1"})
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 1


async def test_a_list_that_was_made_during_a_change_is_compared() -> None:
    client = Client(a=b"1")
    began = client.changes.events(PROMPTS)
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 0
    client.lists(began)
    client.now = View({"a": b"2"})
    assert await client.settled() == 1


async def test_no_list_is_compared_before_the_client_has_one() -> None:
    told: list[str] = []
    changes = ListChanges(told.append)
    changes.suspect(PROMPTS)
    assert not changes._waiting
    assert not changes.was_answered(PROMPTS)
    changes.certain(PROMPTS)
    await eventually(lambda: told == [PROMPTS], "those that listen hear of it")


async def test_the_list_of_a_removed_group_has_changed_once() -> None:
    client = Client()

    async def unknown() -> View:
        raise Refusal(-32602, "Unknown group")

    client.changes.answered(PROMPTS, "gone", View({"gone": b"1"}), unknown, 0)
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 1
    client.changes.suspect(PROMPTS)
    assert await client.settled() == 0
