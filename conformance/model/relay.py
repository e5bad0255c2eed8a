"""The requirements that do not apply to a relay: a proxy that passes the messages of one server on as they are.

A relay has no listing, no capabilities and no session of its own, and speaks the era of its client. What the server sends, it passes on,
also if it is invalid. All other requirements apply: framing, processes, HTTP, sign-ins, and the relay of calls and results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: the requirements by the reason why they do not apply
_NOT_FOR_A_RELAY: Mapping[str, str] = {
    "it passes definitions, results and errors of the server on, valid or not": (
        "FRONT-045 FRONT-092 FRONT-093 FRONT-095 FRONT-130 FRONT-134 HTTP-040 STD-041 STD-042 STD-043 STD-044"
    ),
    "it passes the cursors of the server on and keeps no list": (
        "FRONT-033 FRONT-035 FRONT-091 FRONT-120 FRONT-123 FRONT-124 FRONT-166 FRONT-170"
    ),
    "it passes each notification on, and bounds none": "FRONT-032",
    "it speaks the era of its client, and translates nothing": (
        "FRONT-027 FRONT-028 FRONT-029 FRONT-030 FRONT-031 FRONT-064 FRONT-125 FRONT-152 FRONT-168 FRONT-169 FRONT-173 FRONT-174"
        " FRONT-175 HTTP-022 HTTP-023 HTTP-060 HTTP-061 HTTP-062 HTTP-063 OAUTH-090 OPS-037 STD-022 STD-037 STD-038 STD-039"
    ),
    "the version and the capabilities are those of the server and of the client": (
        "FRONT-008 FRONT-065 FRONT-172 HTTP-032 STD-062"
    ),
    "the client answers the requests of the server, within its own time": "FRONT-050",
    "the session is that of the client, which begins a new one": (
        "HTTP-071 HTTP-072 OPS-026 OPS-045 SSE-007 SSE-012 SSE-013 STD-017 STD-032 STD-034 STD-035 STD-061"
    ),
}

#: the reason by the id of the requirement
EXEMPT: Mapping[str, str] = {id_: reason for reason, ids in _NOT_FOR_A_RELAY.items() for id_ in ids.split()}


def reason_for_exemption(requirement_id: str) -> str | None:
    """Why the requirement does not apply to a relay, or None if it does."""
    reason = EXEMPT.get(requirement_id)
    return None if reason is None else f"its profile says that it is a relay: {reason}"
