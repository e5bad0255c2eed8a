"""Several processes as one proxy: each request reaches the process of its group, and what only one process has is not applicable."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.errors import NotApplicable
from conformance.workbench.proxy_set import ProxySet


class Member:
    """The parts of a `SingleProxy` that a set uses here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.era = "legacy"
        self.capabilities: dict[str, Any] = {}
        self.info: object = None
        self.may_end = False
        self.stdout_lines = [f"{name} speaks"]

    def may_end_by_itself(self) -> None:
        self.may_end = True

    async def call(self, group: str, tool: str, args: Any = None, *, within: float) -> str:
        return f"{self.name}: {group}.{tool}"

    async def items(self, method: str, member: str, params: Any = None, *, within: float) -> list[Any]:
        return [{"name": self.name}]

    @property
    def is_refused(self) -> bool:
        return False


def proxies() -> tuple[ProxySet, Member, Member]:
    first, second = Member("a"), Member("b")
    members: Any = {"a": first, "b": second}
    return ProxySet(members), first, second


@pytest.mark.parametrize(("name", "value"), [("era", "modern"), ("capabilities", {"roots": {}}), ("info", 3)])
def test_a_setting_of_the_client_reaches_each_process(name: str, value: object) -> None:
    both, first, second = proxies()

    setattr(both, name, value)

    assert [getattr(one, name) for one in (both, first, second)] == [value] * 3


async def test_a_call_goes_to_the_process_of_its_group() -> None:
    both, _, _ = proxies()

    answer: object = await both.call("b", "echo")

    assert answer == "b: b.echo"


async def test_a_listing_comes_from_all_processes() -> None:
    both, _, _ = proxies()

    assert (await both.pages("tools/list", "tools")).result == {"tools": [{"name": "a"}, {"name": "b"}]}
    assert both.stdout_lines == ["a speaks", "b speaks"]


def test_each_process_may_end_by_itself() -> None:
    both, first, second = proxies()

    both.may_end_by_itself()

    assert (first.may_end, second.may_end) == (True, True)


@pytest.mark.parametrize("member", ["pid", "port", "pipes", "program", "answers", "takes_bodies"])
def test_what_only_one_process_has_is_not_applicable(member: str) -> None:
    both, _, _ = proxies()

    with pytest.raises(NotApplicable, match="the check needs one process"):
        getattr(both, member)


async def test_a_message_of_any_kind_is_not_applicable() -> None:
    both, _, _ = proxies()

    with pytest.raises(NotApplicable, match="any message"):
        await both.send({"method": "ping"})
