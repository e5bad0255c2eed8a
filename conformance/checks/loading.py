"""Finds the checks: every module of `conformance.checks` registers its own when it is imported."""

from __future__ import annotations

import importlib
import pkgutil

from conformance import checks


def load_checks() -> dict[str, checks.Check]:
    """Import every module of the checks and return all checks by id, in the order of the ids."""
    for module in pkgutil.iter_modules(checks.__path__):
        importlib.import_module(f"{checks.__name__}.{module.name}")
    return checks.registered_checks()
