"""Wrong ways to report mistakes in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.config import load, places, windows_path
from dynamic_mcp.config.mistakes import Mistakes
from dynamic_mcp.errors import ConfigError, Mistake

if TYPE_CHECKING:
    from dynamic_mcp.config import model


@mutant("CFG-020", also={"CFG-021": "the file is not looked at there either"})
def takes_the_last_one_of_two() -> None:
    """The proxy behaved like this before version 1.2 of the requirements, as most decoders of JSON do."""
    replace(places.has_duplicates, lambda text: False)


@mutant("CFG-020")
def looks_only_at_the_names_of_servers() -> None:
    right = places.has_duplicates

    def wrong(text: str) -> bool:
        return right(text) and any(len(found.path) == 2 for found in places.Places(text).duplicates)

    replace(right, wrong)


@mutant("CFG-021")
def looks_for_duplicates_only_at_the_start() -> None:
    right = load.parse
    starts: list[bytes] = []

    def wrong(data: bytes, *more: Any) -> model.Config:
        starts.append(data)
        # The decoder keeps the last one of two.
        return right(data if len(starts) == 1 else msgspec.json.encode(msgspec.json.decode(data)), *more)

    replace(right, wrong)


def _change_report(change: Any) -> None:
    right = Mistakes.check

    def wrong(self: Mistakes) -> None:
        try:
            right(self)
        except ConfigError as error:
            raise ConfigError("config.json", change(error.mistakes)) from None

    replace(right, wrong)


@mutant("CFG-022")
def reports_one_mistake_at_a_time() -> None:
    _change_report(lambda mistakes: mistakes[:1])


@mutant("CFG-023")
def does_not_name_the_line() -> None:
    _change_report(lambda mistakes: [Mistake("the file", problem) for _, problem in mistakes])


@mutant("CFG-023", also={"CFG-006": "it does not name the missing member"})
def calls_every_mistake_invalid() -> None:
    _change_report(
        lambda mistakes: [
            Mistake(place, f"{problem.partition(': ')[0]}: is invalid") for place, problem in mistakes
        ]
    )


@mutant("CFG-024")
def takes_a_tab_in_a_path_for_wanted() -> None:
    replace(windows_path.broken_escape, lambda value, **options: None)
