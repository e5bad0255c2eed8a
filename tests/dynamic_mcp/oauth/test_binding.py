"""Which stored tokens belong to an entry, and where the tokens of entries with one name are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.bound_store import BoundStore
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from tests.dynamic_mcp.oauth.kit import ISSUER, URL, stored

OTHER = "https://mcp.test/other/mcp"


def binding(url: str = URL, client_id: str | None = "app", server: str = "docs") -> Binding:
    return Binding(server, url, client_id)


def store_of(entry: Binding, directory: Path) -> BoundStore:
    return BoundStore(
        entry, FileStore(entry.server, directory), FileStore(entry.server, directory, entry.slot)
    )


def tokens_of(entry: Binding, number: int = 0) -> Tokens:
    """Tokens as a sign-in of this entry stores them."""
    client = ClientRegistration(entry.client_id or "made", registered=entry.client_id is None)
    return stored(None, number, server=entry.server, url_digest=entry.url_digest, client=client)


@pytest.mark.parametrize(
    ("own", "resource", "fits"),
    [
        (URL, URL, True),
        (URL, "https://MCP.test:443/public/mcp", True),
        ("https://mcp.test", "https://mcp.test/", True),
        (URL, f"{URL}/", False),
        (URL, "https://mcp.test", False),
        (URL, "https://mcp.test/public", False),
        (URL, OTHER, False),
        (f"{URL}?tenant=1", URL, False),
        (f"{URL}?tenant=1", f"{URL}?tenant=2", False),
        (URL, "https://evil.test/public/mcp", False),
        (URL, "http://mcp.test/public/mcp", False),
        (URL, "https://mcp.test:8443/public/mcp", False),
        (URL, "https://[", False),
        (URL, "https://mcp.test:port/", False),
    ],
)
def test_tokens_of_an_older_file_fit_by_their_resource(own: str, resource: str, fits: bool) -> None:
    assert binding(own).fits(stored(resource=resource)) is fits


@pytest.mark.parametrize(
    ("entry", "issuer", "machine", "fits"),
    [
        (Binding("docs", URL, "app", ISSUER), ISSUER, False, True),
        (Binding("docs", URL, "app", f"{ISSUER}/"), ISSUER, False, True),
        (Binding("docs", URL, "app", f"{ISSUER}/tenant"), ISSUER, False, False),
        (Binding("docs", URL, "app", machine=True), ISSUER, True, True),
        (Binding("docs", URL, "app", machine=True), ISSUER, False, False),
        (Binding("docs", URL, "app"), ISSUER, True, False),
    ],
)
def test_tokens_are_those_of_the_configured_issuer_and_grant(
    entry: Binding, issuer: str, machine: bool, fits: bool
) -> None:
    assert entry.fits(stored(issuer=issuer, machine=machine)) is fits
    assert entry.may_fit(stored(issuer=issuer, machine=machine)) is fits


@pytest.mark.parametrize("resource", [URL, "https://mcp.test"])
@pytest.mark.parametrize(
    ("other", "fits"),
    [
        (binding(), True),
        (binding(OTHER), False),
        (binding(f"{URL}?tenant=1"), False),
        (binding(f"{URL}/"), False),
        (binding(client_id="another"), False),
        (binding(client_id=None), False),
        (binding(server="Docs"), False),
    ],
)
def test_tokens_fit_the_entry_that_signed_in(resource: str, other: Binding, fits: bool) -> None:
    tokens = msgspec.structs.replace(tokens_of(binding()), resource=resource)
    assert other.fits(tokens) is fits
    assert other.may_fit(tokens) is fits


def test_registered_client_does_not_fit_a_configured_one() -> None:
    tokens = tokens_of(binding(client_id=None))
    assert binding(client_id=None).fits(tokens)
    assert not binding().fits(tokens)


@pytest.mark.parametrize(
    "others",
    [
        [binding(OTHER), binding(f"{URL}?tenant=1"), binding(client_id="another")],
        [binding(), binding(client_id=None), binding("https://elsewhere.test/mcp")],
    ],
)
def test_entries_with_one_name_keep_their_tokens(directory: Path, others: list[Binding]) -> None:
    first, *rest = [store_of(entry, directory) for entry in others]
    for number, (entry, store) in enumerate(zip(others, (first, *rest), strict=True)):
        store.save(tokens_of(entry, number))
    for number, (entry, store) in enumerate(zip(others, (first, *rest), strict=True)):
        assert store.load() == tokens_of(entry, number)
    assert (directory / "docs.json").is_file()
    assert rest[0].delete()
    assert first.load() == tokens_of(others[0])
    assert first.delete()
    assert not first.delete()
    assert len(FileStore("docs", directory).all_of_name()) == len(others) - 1


@pytest.mark.parametrize("old", [Tokens("a"), stored(resource="https://mcp.test"), stored(client=None)])
def test_sign_in_replaces_tokens_that_name_no_entry(directory: Path, old: Tokens) -> None:
    FileStore("docs", directory).save(old)
    store = store_of(binding(), directory)
    found = store.load()
    assert found is not None
    assert not binding().fits(found)
    store.save(tokens_of(binding()))
    assert FileStore("docs", directory).load() == tokens_of(binding())
    assert store.delete()
    assert not list(directory.glob("*.json"))


def test_name_with_the_characters_of_a_pattern_loses_no_other_tokens(directory: Path) -> None:
    for name in ("a", "a*", "a[b]"):
        FileStore(name, directory, "0" * 32).save(stored())
    assert len(FileStore("a*", directory).all_of_name()) == 2
