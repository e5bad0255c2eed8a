"""The gallery of known-bad proxies: each is the reference with one thing deliberately wrong.

A mutant is a function that changes the reference before it starts, named as what is then wrong with it. The only package that may
import ``dynamic_mcp``. ``python -m conformance.mutants NAME {config}`` runs one; ``--list`` names them all.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.errors import HarnessError
from conformance.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Mutant:
    """One deliberate mistake. ``also`` names the other checks that it cannot help but fail, with the reason."""

    name: str
    kills: str
    apply: Callable[[], None]
    also: dict[str, str]


_gallery: dict[str, Mutant] = {}


def mutant(
    kills: str, *, also: dict[str, str] | None = None
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a mutant that the check of requirement ``kills`` must catch."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        registry = Registry.load()
        for id_ in (kills, *(also or {})):
            registry[id_]
        name = apply.__name__.replace("_", "-")
        if name in _gallery:
            raise HarnessError(f"two mutants are called {name}")
        _gallery[name] = Mutant(name, kills, apply, also or {})
        return apply

    return register


def load_mutants() -> dict[str, Mutant]:
    """All mutants by name."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "__main__":
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(_gallery)


def replace(original: object, mistake: object) -> None:
    """Put ``mistake`` in the place of ``original`` wherever the loaded reference refers to it.

    Functions are often imported by name, so patching one module would leave the others right. Nothing found is an error: a
    mutant that changes nothing would survive for the wrong reason.
    """
    places = 0
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "dynamic_mcp":
            continue
        owners: list[object] = [module]
        owners += [
            value for value in vars(module).values() if isinstance(value, type) and value.__module__ == name
        ]
        for owner in owners:
            for attribute, value in list(vars(owner).items()):
                if value is original:
                    setattr(owner, attribute, mistake)
                    places += 1
    if not places:
        raise HarnessError(f"{original!r} is not part of the reference any more")
