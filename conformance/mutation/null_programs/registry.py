"""The null programs by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: seconds after which every program ends by itself
LIFETIME = 120.0


class NullProgram:
    """One program. `passes` maps each requirement whose check it passes to the reason why the pass is no fault of the check."""

    def __init__(self, name: str, run: Callable[[list[str]], None], passes: Mapping[str, str]) -> None:
        self.name = name
        self.run = run
        self.passes = passes


NULL_PROGRAMS: dict[str, NullProgram] = {}


def null_program(
    *, passes: Mapping[str, str] | None = None
) -> Callable[[Callable[[list[str]], None]], Callable[[list[str]], None]]:
    """Register a program under the name of its function; it gets the command-line arguments after its name."""

    def register(run: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
        name = run.__name__.replace("_", "-")
        NULL_PROGRAMS[name] = NullProgram(name, run, passes or {})
        return run

    return register
