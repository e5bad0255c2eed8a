"""Finds out from the edges of a message that is too large to keep whether it is an answer, and its id.

Some SDKs write the id first, others last. A server counts the ids of its requests for itself, so they can equal those of the proxy.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.protocol.lines import begins_answer, find_id

#: Takes the id of an oversized message, empty if no edge shows one, and whether the message is an answer. Any other message with an id
#: counts as a request.
OnOversizedMessage = Callable[[bytes, bool], None]


class OversizedMessages:
    """The oversized messages of one stream. ``report`` is called once for each: as soon as an edge shows the id, or at the end."""

    def __init__(self, report: OnOversizedMessage) -> None:
        self._report = report
        #: about the message whose first edge came last
        self._is_answer = self._is_reported = False

    def take(self, edge: bytes, last: bool) -> None:
        """Take the first or the last bytes of a message."""
        if not last:
            self._is_answer, self._is_reported = begins_answer(edge), False
        if self._is_reported:
            return
        id = find_id(edge, last)
        if id is not None or last:
            self._is_reported = True
            self._report(id or b"", self._is_answer)
