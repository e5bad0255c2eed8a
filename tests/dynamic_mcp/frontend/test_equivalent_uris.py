"""A client may spell the URI of a resource in another way than the server: libraries encode a space, for example."""

from __future__ import annotations

import json
import re

import pytest

from dynamic_mcp.groups import holders as groups_holders
from dynamic_mcp.groups import uris
from dynamic_mcp.groups.holders import Holders
from dynamic_mcp.groups.uris import MAX_NORMAL, normal_text, normal_uri
from dynamic_mcp.protocol.jsonrpc import Refusal
from tests.dynamic_mcp.frontend.test_owners import Lister, catalog_of, read

#: what a server lists, and what a client reads
EQUIVALENT = [
    ("WordPress://Posts/1", "wordpress://Posts/1"),
    ("file:///notes/my note.md", "file:///notes/my%20note.md"),
    ("obsidian:///\u00c4.md", "obsidian:///%C3%84.md"),
    ("obsidian:///%c3%84.md", "obsidian:///%C3%84.md"),
    ("http://Example.com", "http://example.com/"),
    ("http://example.com:80/a", "HTTP://EXAMPLE.com/a"),
    ("notes://today?x=1", "notes://today/?x=1"),
    ("x:/%7Euser", "x:/~user"),
]
DIFFERENT = [
    ("x://a/B", "x://a/b"),
    ("x://a/b%2Fc", "x://a/b/c"),
    ("x://a:80/", "x://a/"),
    ("x:a", "x:a/"),
    ("x://a/b", "x://a/b/"),
]


@pytest.mark.parametrize(("listed", "read_as"), EQUIVALENT)
async def test_the_owner_of_another_spelling_gets_what_the_client_wrote(listed: str, read_as: str) -> None:
    other, owner = Lister("other", uris=["r://1"]), Lister("owner", uris=[listed])
    assert await read(catalog_of(other, owner), read_as) == f"owner {read_as}"


@pytest.mark.parametrize(("listed", "read_as"), DIFFERENT)
async def test_another_resource_is_not_found(listed: str, read_as: str) -> None:
    assert normal_uri(listed) != normal_uri(read_as)
    with pytest.raises(Refusal, match="not found"):
        await read(catalog_of(Lister("owner", uris=[listed])), read_as)


async def test_the_exact_spelling_comes_first() -> None:
    groups = Lister("a", uris=["x://A/1"]), Lister("b", uris=["x://a/1"])
    assert await read(catalog_of(*groups), "x://a/1") == "b x://a/1"


async def test_another_spelling_comes_before_a_template() -> None:
    groups = Lister("a", templates=["x://a/{id}"]), Lister("b", uris=["x://A/1"])
    assert await read(catalog_of(*groups), "x://a/1") == "b x://a/1"


async def test_a_template_matches_another_spelling() -> None:
    catalog = catalog_of(Lister("a"), Lister("b", templates=["WordPress://Posts/{id}"]))
    assert await read(catalog, "wordpress://posts/1") == "b wordpress://posts/1"


async def test_a_link_is_found_by_another_spelling() -> None:
    catalog = catalog_of(Lister("a"), Lister("b"))
    await catalog.result_uris.note("b", json.dumps({"uri": "file:///my note"}).encode())
    assert await read(catalog, "file:///my%20note") == "b file:///my%20note"


@pytest.mark.parametrize(("listed", "read_as"), EQUIVALENT)
def test_an_update_reaches_the_holder_of_another_spelling(listed: str, read_as: str) -> None:
    holders = Holders()
    holders.add(read_as, "client")
    assert holders.covers(listed)
    assert holders.of(listed) == {"client"}
    assert not holders.covers("x://other")


def test_an_update_costs_one_normal_form_however_many_subscriptions_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holders = Holders()
    for number in range(100):
        holders.add(f"x://a/{number}", "client")
    made: list[str] = []

    def counted(uri: str) -> str:
        made.append(uri)
        return normal_uri(uri)

    monkeypatch.setattr(groups_holders, "normal_uri", counted)
    assert holders.covers("X://a/99?page=1")
    assert made == ["X://a/99?page=1"]


def test_a_subscription_that_ended_covers_nothing() -> None:
    holders = Holders()
    holders.add("x://A", "client")
    assert holders.drop("x://A", "client")
    assert not holders.covers("x://a/1")
    assert holders.of("x://A") == set()


def test_a_long_uri_is_compared_exactly() -> None:
    long = "x://a/" + "%41 " * (MAX_NORMAL // 4)
    assert normal_uri(long) == long
    holders = Holders()
    holders.add("x://a", "client")
    assert holders.of(long) == {"client"}


def test_characters_that_need_an_encoding_are_encoded_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    spelled, calls = uris._spelled, 0

    def counted(found: re.Match[str]) -> str:
        nonlocal calls
        calls += 1
        return spelled(found)

    monkeypatch.setattr(uris, "_spelled", counted)
    assert normal_text("x://" + "é " * 1000 + "%c3%41") == "x://" + "%C3%A9%20" * 1000 + "%C3A"
    assert calls == 3
