"""Selectors: how a person names requirements on the command line.

A selector is an id (CFG-001), a family (CFG or `config`), a level (MUST), an era (modern) or a reach (proxy). It can also be the word
`slow` or `quick`, or a glob over ids (CFG-01*), in upper or lower case. A selector that matches nothing in the registry raises
`UsageError`: a misspelt selector must not look like success.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from conformance.errors import UsageError
from conformance.model.registry import Era, Reach, Registry
from conformance.model.verdicts import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

SLOW = "slow"
#: what is not slow
QUICK = "quick"
#: a word for each family whose id is short for one
FAMILY_WORDS = {
    "config": "CFG",
    "frontend": "FRONT",
    "hardening": "HARD",
    "operations": "OPS",
    "reload": "RLD",
    "security": "SEC",
    "sharing": "SHARE",
    "stdio": "STD",
    "tokens": "TOK",
}
_GLOB_CHARACTERS = frozenset("*?[")


def select(
    registry: Registry,
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    *,
    slow_ids: Iterable[str] = (),
) -> list[str]:
    """The ids that `only` selects (when empty, all) without those of `skip`, in the order of the registry."""
    only = list(only)
    slow = frozenset(slow_ids)
    wanted: set[str] = set()
    for selector in only:
        wanted |= matching(selector, registry, slow)
    unwanted: set[str] = set()
    for selector in skip:
        unwanted |= matching(selector, registry, slow)
    return [
        requirement.id
        for requirement in registry
        if (not only or requirement.id in wanted) and requirement.id not in unwanted
    ]


def matching(selector: str, registry: Registry, slow_ids: frozenset[str] = frozenset()) -> set[str]:
    """The ids that one selector matches. Raises `UsageError` with the nearest names when it matches none."""
    folded = selector.strip().casefold()
    if folded == SLOW:
        return set(slow_ids)
    if folded == QUICK:
        return {requirement.id for requirement in registry} - slow_ids
    if _GLOB_CHARACTERS & set(folded):
        found = {requirement.id for requirement in registry if fnmatchcase(requirement.id.casefold(), folded)}
    else:
        folded = FAMILY_WORDS.get(folded, folded).casefold()
        # "any" selects what holds in every era, "modern" only what holds in the modern era alone.
        found = {
            requirement.id
            for requirement in registry
            if folded
            in {
                name.casefold()
                for name in (
                    requirement.id,
                    requirement.family,
                    requirement.level,
                    requirement.era,
                    requirement.reach,
                )
            }
        }
        known_word = folded in {name.casefold() for name in (*Level, *Era, *Reach)}
        if known_word:
            return found
    if not found:
        raise UsageError(f"nothing is called {selector!r}{_nearest(folded, registry)}")
    return found


def _nearest(folded: str, registry: Registry) -> str:
    words = [*registry.families, *FAMILY_WORDS, *Level, *Era, *Reach, SLOW, QUICK]
    names = [*words, *registry.requirements]
    by_folded = {name.casefold(): str(name) for name in names}
    near = [by_folded[match] for match in difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.5)]
    if near:
        return f"; did you mean {', '.join(near)}?"
    return f"; a selector is an id, one of {', '.join(words)}, or a glob like CFG-01*"
