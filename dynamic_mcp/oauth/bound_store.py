"""The tokens of one entry of the configuration, beside those of other entries with the same name.

The first entry of a name has the documented place, ``<server>.json``. If this place has tokens of another entry, the tokens are in a place
of their own, ``<server>%@<digest>.json``. A save replaces no tokens of another entry.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.store import TokenStore
from dynamic_mcp.oauth.tokens import Tokens


class BoundStore:
    """The place of the name, and the place of this entry alone."""

    def __init__(self, binding: Binding, named: TokenStore, own: TokenStore) -> None:
        self._binding = binding
        self._named = named
        self._own = own

    @property
    def blocks(self) -> bool:
        return self._named.blocks

    @property
    def location(self) -> str:
        return self._named.location

    def load(self) -> Tokens | None:
        """The tokens of this entry; without them, those in the place of the name. Raises StoreFailed."""
        named = self._named.load()
        if named is not None and self._binding.fits(named):
            return named
        return self._own.load() or named

    def exists(self) -> bool:
        """Whether there is something in one of the places. Raises StoreFailed."""
        return self._named.exists() or self._own.exists()

    def save(self, tokens: Tokens) -> None:
        """Replace the tokens of this entry. Raises OSError and StoreFailed."""
        named = self._named.load()
        is_free = named is None or self._binding.may_fit(named)
        (self._named if is_free else self._own).save(tokens)

    def delete(self) -> bool:
        """Delete the tokens, and those that name no entry. Raises StoreFailed."""
        named = self._named.load()
        is_own = named is None or self._binding.may_fit(named)
        return any([is_own and self._named.delete(), self._own.delete()])

    def lock(self) -> AbstractAsyncContextManager[None]:
        """One lock for all entries of the name, because they may want the same place."""
        return self._named.lock()

    def open_beside(self, suffix: str) -> int | None:
        """A file of this entry alone: another entry of the name has another sign-in."""
        return self._own.open_beside(suffix)
