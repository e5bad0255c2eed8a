"""Why a message is not valid JSON, in words for a user."""

from __future__ import annotations

#: The beginning of each of these texts.
NO_JSON = "the message is not valid JSON"


def why_no_json(error: Exception) -> str:
    """The reason for an error of the decoder."""
    text = str(error)
    if "truncated" in text:
        return f"{NO_JSON}: it ends too early"
    return f"{NO_JSON}: more follows its end" if "trailing" in text else NO_JSON
