"""Changes of what the messages of the proxy say."""

from __future__ import annotations

import json

from conformance.mutants import wire


def saying(right: str, other: str) -> wire.Change:
    """Replace these words in each message. Neither text has a character that JSON escapes."""

    def changed(message: wire.Message, way: wire.Way) -> wire.Changed:
        text = json.dumps(message)
        if right not in text:
            return message
        found: wire.Message = json.loads(text.replace(right, other))
        return found

    return changed
