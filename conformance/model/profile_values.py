"""Values of a profile that TOML can have and no run can use: endless numbers, dates, places inside of values, characters of control.

Each check raises `UsageError`, which names the member and says what to write.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from conformance.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_HOUR = 3600.0
_YEAR = 366 * 24 * _HOUR
#: by number of a profile: the least and the greatest value
_BOUNDS = {"starts_within": (0.001, _HOUR), "tokens.margin": (0.0, _YEAR), "client.lingers": (0.0, _HOUR)}
#: the name of an HTTP header (RFC 9110, section 5.6.2)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check_number(member: str, value: float) -> None:
    """Refuse a number of seconds that is not finite, or beyond the bounds of this member."""
    least, greatest = _BOUNDS[member]
    if not (math.isfinite(value) and least <= value <= greatest):
        raise UsageError(f"{member}: {value:g} is not a number of seconds from {least:g} to {greatest:.0f}")


def check_json(place: str, value: Any) -> None:
    """Refuse what JSON does not have, such as a date of TOML."""
    if isinstance(value, dict):
        for name, one in value.items():
            check_json(f"{place}.{name}", one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            check_json(f"{place}[{number}]", one)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{place}: {value:g} is no number of JSON; write a finite number, or a text")
    elif not isinstance(value, str | int | float):
        raise UsageError(f'{place}: JSON has no {type(value).__name__}; write a text: "{value}"')


def check_places(what: str, places: Mapping[str, str], open_ones: Collection[str] = ()) -> None:
    """Refuse a place that is no dotted path, or one inside of a value. The members `open_ones` are tables, which can contain others."""
    for name, place in places.items():
        if not all(place.split(".")):
            raise UsageError(f'{what}.{name}: {place!r} is not a dotted place such as "mcp.servers"')
    for outer, whole in places.items():
        for inner, place in places.items():
            if outer not in open_ones and place.startswith(f"{whole}."):
                raise UsageError(
                    f"{what}.{inner}: {place!r} is inside of {whole!r}, the place of {outer!r}; write a place outside of it"
                )


def check_headers(what: str, headers: Mapping[str, str]) -> None:
    """Refuse a header that HTTP cannot carry."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise UsageError(f"{what}: {name!r} is not the name of a header, such as Authorization")
        if not value.isprintable():
            raise UsageError(f"{what}.{name}: write the value on one line, without control characters")


def check_variables(what: str, variables: Mapping[str, str]) -> None:
    """Refuse an environment variable that no process can have."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name:
            raise UsageError(f"{what}: {name!r} is not the name of an environment variable, such as PORT")
        if "\0" in value:
            raise UsageError(f"{what}.{name}: no variable can have a NUL character")
