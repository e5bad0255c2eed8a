"""Proxies that are wrong on purpose: each mutant is the reference with one deliberate mistake.

A mutant is a function that changes the reference before it starts. The function's name says what is wrong with the proxy. A legitimate
design is such a function too, but it makes no mistake, so no required check may fail for it. `replace` and `set_constant` make the changes.

Only this package may import ``dynamic_mcp``. ``python -m conformance.mutants NAME {config}`` runs one mutant or design, and ``--list``
prints the names of all mutants. ``python -m conformance mutants`` runs the checks against each mutant (``conformance.mutation``).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from conformance.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_T = TypeVar("_T")

#: values that can be one object under unrelated names: Python makes equal constants of a module one object, and short texts of all modules
_SHAREABLE = (int, float, str, bytes, tuple, frozenset, type(None))

#: the profile of the reference behind the gateway
LISTENING = "reference-http"


#: With its name after this, a mutant that changes messages on the wire stands among the names of changed functions.
ON_THE_WIRE = "message:"


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
    #: the mistake is in the gateway that lets the reference listen
    listens: bool = False
    #: the profile of the reference that the mutant runs with
    profile: str = "reference"
    #: the legitimate design in which the mistake is made; it runs with the profile of the design
    design: Legitimate | None = None


@dataclass(frozen=True)
class Legitimate:
    """The reference with another design that the sources allow, which every check must accept."""

    name: str
    apply: Callable[[], None]
    #: selectors of the requirements whose checks the design touches
    touches: tuple[str, ...]
    #: lines of a profile that declare what no check can observe
    profile: str
    #: the requirements that bind no proxy, and whose checks must not even warn about the design
    passes: tuple[str, ...] = ()


_mutants: dict[str, Mutant] = {}
_legitimate: dict[str, Legitimate] = {}


def mutant(
    kills: str,
    *,
    also: dict[str, str] | None = None,
    crashes: bool = False,
    listens: bool = False,
    profile: str = "reference",
    design: Callable[[], None] | None = None,
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a mutant that the check of requirement ``kills`` must catch; the other arguments are those of ``Mutant``."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        name = _new_name(apply)
        _mutants[name] = Mutant(
            name,
            kills,
            apply,
            also or {},
            crashes,
            listens,
            LISTENING if listens else profile,
            None if design is None else _legitimate[_name_of(design)],
        )
        return apply

    return register


def legitimate(
    *touches: str, profile: str = "", passes: tuple[str, ...] = ()
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a legitimate design; the arguments are those of ``Legitimate``."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        name = _new_name(apply)
        _legitimate[name] = Legitimate(name, apply, touches, profile, passes)
        return apply

    return register


def _name_of(apply: Callable[[], None]) -> str:
    return apply.__name__.replace("_", "-")


def _new_name(apply: Callable[[], None]) -> str:
    name = _name_of(apply)
    if name in _mutants or name in _legitimate:
        raise HarnessError(f"two mutants are called {name}")
    return name


def registered_mutants() -> dict[str, Mutant]:
    """The mutants of all modules that are imported so far, by name."""
    return dict(_mutants)


def registered_designs() -> dict[str, Legitimate]:
    """The legitimate designs of all modules that are imported so far, by name."""
    return dict(_legitimate)


def instances(kind: type[_T]) -> list[_T]:
    """A list of the objects of a class of the reference. Each object that is made from now on comes into it."""
    found: list[_T] = []
    begin = kind.__init__

    def remember(self: _T, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        found.append(self)

    replace(begin, remember)
    return found


def replace(original: object, mistake: object) -> None:
    """Put ``mistake`` in the place of a function, class or other object, wherever the loaded reference refers to it.

    Functions are often imported by name, so patching one module would leave the others right. Nothing found is an error: a
    mutant that changes nothing would survive for the wrong reason. A constant is an error too: it is for `set_constant`.
    """
    if isinstance(original, _SHAREABLE):
        raise HarnessError(f"{original!r} can be the value of other names too: use set_constant")
    places = 0
    for module in _loaded_modules():
        own = (
            value
            for value in list(vars(module).values())
            if isinstance(value, type) and value.__module__ == module.__name__
        )
        for owner in (module, *own):
            for attribute, value in list(vars(owner).items()):
                if value is original:
                    setattr(owner, attribute, mistake)
                    places += 1
    if not places:
        raise HarnessError(f"{original!r} is not part of the reference any more")


def set_constant(module: ModuleType, name: str, value: object) -> None:
    """Give a constant of the reference another value, also in the loaded modules that imported it by its name."""
    if name not in vars(module):
        raise HarnessError(f"{module.__name__}.{name} is not part of the reference any more")
    original = vars(module)[name]
    for one in (module, *_loaded_modules()):
        if vars(one).get(name) is original:
            setattr(one, name, value)


def _loaded_modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "dynamic_mcp":
            yield module
