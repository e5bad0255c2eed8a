"""Finds the mutants: every module of `conformance.mutants` registers its own when it is imported."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from functools import lru_cache
from pathlib import Path

from conformance import mutants
from conformance.errors import HarnessError
from conformance.model.registry import Registry


def load_mutants() -> dict[str, mutants.Mutant]:
    """All mutants by name. Raises `HarnessError` for one that names an unknown requirement."""
    for name in _modules():
        importlib.import_module(f"{mutants.__name__}.{name}")
    registry = Registry.load()
    found = mutants.registered_mutants()
    for one in found.values():
        unknown = [id_ for id_ in (one.kills, *one.also) if registry.get(id_) is None]
        if unknown:
            raise HarnessError(f"{one.name}: no requirement has the id {unknown[0]}")
    return found


def load_designs() -> dict[str, mutants.Legitimate]:
    """All legitimate designs by name."""
    for name in _modules():
        importlib.import_module(f"{mutants.__name__}.{name}")
    return mutants.registered_designs()


def load_mutant(name: str) -> mutants.Mutant | mutants.Legitimate | None:
    """One mutant or legitimate design. Imports only the module that defines it, because a check starts a proxy for each of its cases."""
    module = module_of(name)
    if module is None:
        return None
    importlib.import_module(f"{mutants.__name__}.{module}")
    return mutants.registered_mutants().get(name) or mutants.registered_designs().get(name)


def module_of(name: str) -> str | None:
    """The name of the module that defines this mutant or legitimate design; None if no module does."""
    function = name.replace("-", "_")
    for module in _modules():
        # To parse all modules would take longer than to import them.
        if function in _source(module) and function in _registered_by(module):
            return module
    return None


@lru_cache
def _registered_by(module: str) -> frozenset[str]:
    """The functions that the module registers as mutants or legitimate designs."""
    return frozenset(
        node.name
        for node in ast.parse(_source(module)).body
        if isinstance(node, ast.FunctionDef)
        and {ast.unparse(one).partition("(")[0] for one in node.decorator_list} & {"mutant", "legitimate"}
    )


@lru_cache
def _source(module: str) -> str:
    return Path(mutants.__path__[0], f"{module}.py").read_text(encoding="utf-8")


@lru_cache
def _modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.iter_modules(mutants.__path__)
        if module.name not in ("__main__", "loading", "observation")
    ]
