"""What an authorization server says about a refusal: bounded, printable, and without the values of the configuration.

Entra ID names the cause by a number. For some numbers, the user can do something.
"""

from __future__ import annotations

import re

from dynamic_mcp.hiding import HiddenValues

_MAX_CODE = 60
_MAX_DESCRIPTION = 200
#: No description in the field is as long. Its end is not searched for hidden values.
_MAX_READ = 1 << 12
_ENTRA_NUMBER = re.compile(r"AADSTS\d{4,10}")
#: Entra ID refuses the parameter ``resource``.
_RESOURCE_REFUSED = frozenset({"AADSTS901002", "AADSTS9010010"})


def words_of(error: object, description: object, hidden: HiddenValues) -> str:
    """``error`` and ``error_description`` of a refusal (RFC 6749, section 5.2; RFC 7591, section 3.2.2); empty without a text."""
    texts = (_shown(error, _MAX_CODE, hidden), _shown(description, _MAX_DESCRIPTION, hidden))
    return ": ".join(text for text in texts if text)


def entra_number(text: object) -> str:
    """The number of an error of Entra ID in this text; empty without one."""
    found = _ENTRA_NUMBER.search(text[:_MAX_READ]) if isinstance(text, str) else None
    return found[0] if found is not None else ""


def advice_for(words: str) -> str:
    """What the user can do after a refusal with these words; empty if that is unknown."""
    return '; write "resource": false in its oauth table' if entra_number(words) in _RESOURCE_REFUSED else ""


def _shown(text: object, most: int, hidden: HiddenValues) -> str:
    if not isinstance(text, str):
        return ""
    words = "".join(letter for letter in text[:_MAX_READ] if letter.isprintable())
    # What was cut may have been the end of a value.
    whole = words if len(text) <= _MAX_READ else words[: -max(1, hidden.longest)]
    return hidden.hide(whole)[:most]
