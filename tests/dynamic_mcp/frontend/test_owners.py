"""Names and their groups: no listing of another group, no failure and no order of starts gives a name away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend import owners as module
from dynamic_mcp.frontend.call import Call, Incoming
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.changes import ListChanges
from dynamic_mcp.frontend.owners import NameOwners, own_name, owner_by_prefix, qualified_name
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Freshness, Kind, Listing
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.jsonrpc import Refusal
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Upstream
from tests.dynamic_mcp.fakes import FakeGroup, FakeUpstream, named, server, silent_relay


class Lister(FakeGroup):
    """A group with these names in its lists. It can go down, and forgets its listing for ever with ``start_anew``."""

    def __init__(
        self,
        name: str,
        prompts: list[str] | None = None,
        uris: list[str] | None = None,
        templates: list[str] | None = None,
    ) -> None:
        super().__init__(server(name), FakeUpstream())
        self.lists = {PROMPTS: prompts or [], RESOURCES: uris or [], TEMPLATES: templates or []}
        self.is_down = False

    async def live(self) -> tuple[Group, Upstream]:
        if self.is_down:
            raise UpstreamFailed(f"{self.name} is down")
        return await super().live()

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        await self.connected()

        async def make() -> Listing:
            listing = Listing()
            for name in self.lists[kind]:
                listing[name] = Raw(json.dumps({kind.key: name, "from": self.name}).encode())
            return listing

        return await self._listings.fill(kind, make)

    async def request(self, method: str, params: bytes, options: Options, kind: Kind = TOOLS) -> bytes:
        await self.connected()
        asked = json.loads(params)
        return f"{self.name} {asked.get('name', asked.get('uri'))}".encode()

    def go_down(self) -> None:
        self.is_down = True
        self._listings.clear()


def catalog_of(*groups: Group) -> Catalog:
    return Catalog(named(*groups), Hooks(), ListChanges(lambda method: None))


def call(method: str, **params: Any) -> Call:
    incoming = Incoming(b"1", method, Raw(json.dumps(params).encode()), lambda line: None)
    return Call(incoming, silent_relay())


async def get(catalog: Catalog, name: str) -> str:
    return (await catalog.get_prompt(call("prompts/get", name=name))).decode()


async def read(catalog: Catalog, uri: str) -> str:
    return (await catalog.read(call("resources/read", uri=uri))).decode()


async def shown(catalog: Catalog) -> list[tuple[str, str]]:
    """The names of the prompts in the list, each with its group."""
    result = json.loads(await catalog.list_all(PROMPTS, call("prompts/list")))
    return [(prompt["name"], prompt["from"]) for prompt in result["prompts"]]


# Qualified names


async def test_a_qualified_name_leads_to_its_group_in_any_order() -> None:
    for order in (1, -1):
        groups = [Lister("evil", ["deploy", "bank/deploy"]), Lister("bank", ["deploy"])][::order]
        catalog = catalog_of(*groups)
        assert await get(catalog, "bank/deploy") == "bank deploy"
        assert await get(catalog, "evil/bank/deploy") == "evil bank/deploy"


async def test_names_of_honest_groups_stay_plain() -> None:
    groups = [Lister("github", ["github/review", "review", "a/b/c"]), Lister("other", ["review", "mine"])]
    assert await shown(catalog_of(*groups)) == [
        ("github/review", "github"),
        ("review", "github"),
        ("a/b/c", "github"),
        ("other/review", "other"),
        ("mine", "other"),
    ]


async def test_an_own_prompt_with_the_qualified_name_keeps_it() -> None:
    catalog = catalog_of(Lister("evil", ["deploy"]), Lister("bank", ["deploy", "bank/deploy"]))
    assert await shown(catalog) == [("deploy", "evil"), ("bank/bank/deploy", "bank"), ("bank/deploy", "bank")]
    assert await get(catalog, "bank/deploy") == "bank bank/deploy"
    assert await get(catalog, "bank/bank/deploy") == "bank deploy"


async def test_the_longest_group_owns_a_name_with_several_slashes() -> None:
    catalog = catalog_of(Lister("a", ["b/c", "a/b/c"]), Lister("a/b", ["c"]), Lister("first", ["c"]))
    assert await get(catalog, "a/b/c") == "a/b c"
    for name, group in await shown(catalog):
        assert (await get(catalog, name)).startswith(f"{group} ")


async def test_a_qualified_name_of_a_group_without_prompts_is_refused() -> None:
    catalog = catalog_of(Lister("evil", ["bank/deploy"]), Lister("bank"))
    with pytest.raises(Refusal, match="Unknown prompt: bank/deploy"):
        await get(catalog, "bank/deploy")


async def test_a_qualified_name_of_a_group_that_is_down_fails_with_its_reason() -> None:
    bank = Lister("bank", ["deploy"])
    bank.go_down()
    with pytest.raises(UpstreamFailed, match="bank is down"):
        await get(catalog_of(Lister("evil", ["bank/deploy"]), bank), "bank/deploy")


GROUPS = ["a", "b", "a/b", "a/a"]
_prompt_names = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)
_listings = st.lists(_prompt_names, unique=True, max_size=6)


@given(st.permutations(GROUPS), st.lists(_listings, min_size=4, max_size=4))
@example(["a", "a/b", "b", "a/a"], [["b/a", "a/b/a"], ["a"], ["a", "b/a"], []])
async def test_each_name_in_the_list_is_unique_and_leads_to_its_group(
    order: list[str], listings: list[list[str]]
) -> None:
    catalog = catalog_of(*(Lister(name, prompts) for name, prompts in zip(order, listings, strict=True)))
    names = await shown(catalog)
    assert len(dict(names)) == len(names)
    for name, group in names:
        assert (await get(catalog, name)).startswith(f"{group} ")
        assert owner_by_prefix(name, order) in (None, group)


@given(st.sampled_from(GROUPS), _prompt_names, _listings)
def test_a_qualified_name_leads_back(group: str, own: str, others: list[str]) -> None:
    listed = {own, *others}
    name = qualified_name(group, own, listed, GROUPS)
    assert name is None or own_name(group, name, listed, GROUPS) == own


# Owners that are down


@pytest.mark.parametrize("was_used", [True, False])
@pytest.mark.parametrize(
    ("use", "names"),
    [
        (read, {"uris": ["x://1"]}),
        (get, {"prompts": ["x://1"]}),
    ],
)
async def test_a_listed_name_keeps_its_group_while_that_is_down(use: Any, names: Any, was_used: bool) -> None:
    bank, evil = Lister("bank", **names), Lister("evil", **names)
    catalog = catalog_of(bank, evil)
    if was_used:
        assert await use(catalog, "x://1") == "bank x://1"
    else:
        await catalog.list_all(RESOURCES, call("resources/list"))
        await catalog.list_all(PROMPTS, call("prompts/list"))
    bank.go_down()
    with pytest.raises(UpstreamFailed, match="bank is down"):
        await use(catalog, "x://1")
    if "prompts" in names:
        assert await shown(catalog) == [("evil/x://1", "evil")]
    bank.is_down = False
    assert await use(catalog, "x://1") == "bank x://1"


async def test_an_earlier_group_cannot_take_over_a_used_name() -> None:
    evil, bank = Lister("evil"), Lister("bank", uris=["x://1"], templates=["y://{id}"], prompts=["p"])
    catalog = catalog_of(evil, bank)
    uses = [(read, "x://1"), (read, "y://1"), (get, "p")]
    for use, name in uses:
        assert await use(catalog, name) == f"bank {name}"
    evil.lists = {RESOURCES: ["x://1", "y://1"], PROMPTS: ["p"], TEMPLATES: ["y://{id}"]}
    for use, name in uses:
        assert await use(catalog, name) == f"bank {name}"
    assert await shown(catalog) == [("evil/p", "evil"), ("p", "bank")]
    bank.go_down()
    for use, name in uses:
        with pytest.raises(UpstreamFailed, match="bank is down"):
            await use(catalog, name)


async def test_a_later_group_cannot_take_over_what_a_template_covers() -> None:
    bank, evil = Lister("bank", templates=["x://{id}"]), Lister("evil")
    catalog = catalog_of(bank, evil)
    assert await read(catalog, "x://1") == "bank x://1"
    evil.lists[RESOURCES] = ["x://1"]
    assert await read(catalog, "x://1") == "bank x://1"


async def test_a_group_keeps_what_a_template_covers_only_loosely() -> None:
    bank, evil = Lister("bank", templates=["x://{path}"]), Lister("evil")
    catalog = catalog_of(bank, evil)
    assert await read(catalog, "x://a/b") == "bank x://a/b"
    evil.lists[RESOURCES] = ["x://a/b"]
    assert await read(catalog, "x://a/b") == "bank x://a/b"


async def test_a_link_counts_after_lists_and_templates_and_before_loose_templates() -> None:
    bank = Lister("bank", uris=["x://listed"], templates=["x://covered/{id}"])
    loose, giver = Lister("loose", templates=["x://{path}"]), Lister("giver")
    catalog = catalog_of(loose, giver, bank)
    uris = ["x://listed", "x://covered/1", "x://a/b"]
    await catalog.result_uris.note("giver", json.dumps([{"uri": uri} for uri in uris]).encode())
    assert [await read(catalog, uri) for uri in uris] == [
        "bank x://listed",
        "bank x://covered/1",
        "giver x://a/b",
    ]
    bank.lists[RESOURCES].append("x://a/b")
    assert await read(catalog, "x://a/b") == "giver x://a/b"


async def test_an_earlier_group_that_starts_late_takes_its_place() -> None:
    bank, evil = Lister("bank", uris=["x://1"]), Lister("evil", uris=["x://1"])
    catalog = catalog_of(bank, evil)
    bank.is_down = True
    assert await read(catalog, "x://1") == "evil x://1"
    bank.is_down = False
    assert await read(catalog, "x://1") == "bank x://1"
    bank.go_down()
    with pytest.raises(UpstreamFailed, match="bank is down"):
        await read(catalog, "x://1")


async def test_a_name_is_free_when_its_owner_drops_it_or_is_removed() -> None:
    bank, evil = Lister("bank", uris=["x://1", "x://2"]), Lister("evil", uris=["x://1", "x://2"])
    groups = named(bank, evil)
    catalog = Catalog(groups, Hooks(), ListChanges(lambda method: None))
    assert [await read(catalog, uri) for uri in ("x://1", "x://2")] == ["bank x://1", "bank x://2"]
    bank.lists[RESOURCES] = ["x://2"]
    bank._listings.invalidate("notifications/resources/list_changed")
    assert await read(catalog, "x://1") == "evil x://1"
    del groups["bank"]
    assert await read(catalog, "x://2") == "evil x://2"


async def test_a_successor_keeps_the_names_of_the_old_group() -> None:
    old, new, evil = (Lister(name, uris=["x://1"]) for name in ("bank", "bank", "evil"))
    groups = named(old, evil)
    catalog = Catalog(groups, Hooks(), ListChanges(lambda method: None))
    await catalog.list_all(RESOURCES, call("resources/list"))
    old.hand_over(new)
    groups["bank"] = new
    new.is_down = True
    with pytest.raises(UpstreamFailed, match="bank is down"):
        await read(catalog, "x://1")


async def test_a_template_for_completions_leads_to_the_group_that_lists_it() -> None:
    bank, evil = (
        Lister("bank", templates=["x://{id}"]),
        Lister("evil", uris=["x://{id}"], templates=["x://{+id}"]),
    )
    for group in (bank, evil):
        assert isinstance(group.upstream, FakeUpstream)
        group.upstream.agreed.capabilities["completions"] = Raw(b"{}")
    ref = {"type": "ref/resource", "uri": "x://{id}"}
    argument = {"name": "id", "value": ""}
    catalog = catalog_of(evil, bank)
    answer = await catalog.complete(call("completion/complete", ref=ref, argument=argument))
    assert answer.startswith(b"bank ")


def test_the_memory_of_owners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OWNERS", 3)
    owners = NameOwners()
    for name in ("a", "b", "c", "a", "d", "x" * (module.MAX_NAME + 1)):
        owners.remember(RESOURCES, name, "g", ["g"], ())
    assert {key[1] for key in owners._owners} == {"c", "a", "d"}
