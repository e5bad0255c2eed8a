"""Mistakes in keeping tokens in the keyring."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp import server
from dynamic_mcp.errors import StoreFailed
from dynamic_mcp.extras.keychain import KeyringStore
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    from dynamic_mcp.oauth.tokens import Tokens


def _file_of(store: KeyringStore) -> FileStore:
    # Private, because a keyring has no reason to show the file that it takes the place of.
    return store._file


@mutant("HARD-002")
def does_not_know_the_keyring() -> None:
    replace(server.token_store, lambda entry, kind: FileStore(entry.server))


@mutant("HARD-002")
def falls_back_to_the_file() -> None:
    """The proxy does not say so."""
    load, save = KeyringStore.load, KeyringStore.save

    def wrong_load(self: KeyringStore) -> Tokens | None:
        try:
            return load(self)
        except StoreFailed:
            return _file_of(self).load()

    def wrong_save(self: KeyringStore, tokens: Tokens) -> None:
        try:
            save(self, tokens)
        except StoreFailed:
            _file_of(self).save(tokens)

    replace(load, wrong_load)
    replace(save, wrong_save)


@mutant("HARD-002")
def keeps_a_copy_in_the_file() -> None:
    right = KeyringStore.save

    def wrong(self: KeyringStore, tokens: Tokens) -> None:
        right(self, tokens)
        _file_of(self).save(tokens)

    replace(right, wrong)


@mutant("HARD-002")
def does_not_read_the_keyring_at_the_start() -> None:
    replace(KeyringStore.load, lambda self: None)


@mutant("HARD-002")
def renews_beside_the_keyring() -> None:
    right = KeyringStore.save

    def wrong(self: KeyringStore, tokens: Tokens) -> None:
        if self.load() is None:
            right(self, tokens)

    replace(right, wrong)


@mutant("HARD-002")
def says_nothing_of_a_keyring_that_cannot_be_used() -> None:
    load, save = KeyringStore.load, KeyringStore.save

    def wrong_load(self: KeyringStore) -> Tokens | None:
        try:
            return load(self)
        except StoreFailed:
            return None

    def wrong_save(self: KeyringStore, tokens: Tokens) -> None:
        with suppress(StoreFailed):
            save(self, tokens)

    replace(load, wrong_load)
    replace(save, wrong_save)
