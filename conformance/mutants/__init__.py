"""The gallery of known-bad proxies: each is the reference with one thing deliberately wrong.

A mutant is a function that changes the reference before it starts, named as what is then wrong with it. The only package that may
import ``dynamic_mcp``. ``python -m conformance.mutants NAME {config}`` runs one; ``--list`` names them all;
``python -m conformance mutants`` has each judged by the checks (``conformance.mutation``).
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import HarnessError
from conformance.model.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Mutant:
    """One deliberate mistake."""

    name: str
    #: the requirement that it is wrong about
    kills: str
    apply: Callable[[], None]
    #: the other requirements whose checks it cannot help but fail, each with the reason
    also: dict[str, str]
    #: that it ends, or writes a stack trace, is the mistake; in any other mutant it means that the mutant itself is broken
    crashes: bool


_gallery: dict[str, Mutant] = {}


def mutant(
    kills: str, *, also: dict[str, str] | None = None, crashes: bool = False
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a mutant that the check of requirement ``kills`` must catch; the other arguments are those of ``Mutant``."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        name = apply.__name__.replace("_", "-")
        if name in _gallery:
            raise HarnessError(f"two mutants are called {name}")
        _gallery[name] = Mutant(name, kills, apply, also or {}, crashes)
        return apply

    return register


def load_mutants() -> dict[str, Mutant]:
    """All mutants by name. Raises ``HarnessError`` for one that names an unknown requirement."""
    for name in _modules():
        importlib.import_module(f"{__name__}.{name}")
    registry = Registry.load()
    for one in _gallery.values():
        unknown = [id_ for id_ in (one.kills, *one.also) if registry.get(id_) is None]
        if unknown:
            raise HarnessError(f"{one.name}: no requirement has the id {unknown[0]}")
    return dict(_gallery)


def load_mutant(name: str) -> Mutant | None:
    """One mutant. Imports the module that defines it alone: a proxy is started for every case of a check."""
    definition = f"def {name.replace('-', '_')}("
    for module in _modules():
        if definition in Path(__path__[0], f"{module}.py").read_text(encoding="utf-8"):
            importlib.import_module(f"{__name__}.{module}")
    return _gallery.get(name)


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name != "__main__"]


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
