"""Why a message is not valid JSON, in words for a user."""

from __future__ import annotations

#: The beginning of each of these texts.
NO_JSON = "the message is not valid JSON"
#: The text for a whole JSON value that something follows.
MORE_FOLLOWS = f"{NO_JSON}: more follows its end"


def why_no_json(error: Exception) -> str:
    """The reason for an error of the decoder."""
    text = str(error)
    if "truncated" in text:
        return f"{NO_JSON}: it ends too early"
    return MORE_FOLLOWS if "trailing" in text else NO_JSON
