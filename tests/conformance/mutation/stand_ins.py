"""Prints each mistake of a mutant that does not take the arguments of what it replaces. A program, because mutants change the proxy."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from inspect import Parameter
from typing import Any

from conformance import mutants
from conformance.mutants.loading import load_mutants


def calls(original: Callable[..., Any]) -> Iterator[tuple[int, list[str]]]:
    """The fewest and the most positional arguments of a call, each with the names of the other arguments."""
    parameters = inspect.signature(original).parameters.values()
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    places = [one for one in parameters if one.kind in kinds]
    names = [one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    yield len([one for one in places if one.default is Parameter.empty]), names
    yield len(places), names


def compare(original: Any, mistake: Any) -> None:
    """Print why the mistake cannot be called as the original is (stands for ``mutants.replace``)."""
    if not callable(original) or not callable(mistake) or inspect.isclass(original):
        return
    try:
        accepted = inspect.signature(mistake)
        for count, names in calls(original):
            accepted.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError as misfit:
        print(f"{mistake.__qualname__} in place of {original.__qualname__}: {misfit}")  # noqa: T201
    except ValueError:
        pass  # a function of C has no signature


def main() -> None:
    for found in pkgutil.iter_modules(mutants.__path__):
        if found.name != "__main__":
            module = importlib.import_module(f"{mutants.__name__}.{found.name}")
            if hasattr(module, "replace"):
                setattr(module, "replace", compare)  # noqa: B010  # mypy sees the type of the right one
    for mutant in load_mutants().values():
        mutant.apply()


if __name__ == "__main__":
    main()
