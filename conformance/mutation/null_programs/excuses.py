"""Which checks the liars may pass, and why: each passes those of the part of a proxy's work that it does honestly.

All other liars invent what this part is about, so they pass no check.
"""

from __future__ import annotations


def _excused(reason: str, ids: str) -> dict[str, str]:
    return dict.fromkeys(ids.split(), reason)


IGNORES_IDS = _excused(
    "one request at a time waits at an upstream here, so the oldest one is the right one",
    """
    CFG-004 FRONT-002 FRONT-003 FRONT-016 FRONT-025 FRONT-026 FRONT-027 HTTP-006 HTTP-009 HTTP-016
    STD-008
    """,
)

SERVES_TEN = _excused(
    "it relays the first ten calls to an upstream honestly, and the check makes no more",
    """
    CFG-004 FRONT-002 FRONT-003 FRONT-016 FRONT-022 FRONT-025 FRONT-026 FRONT-027 FRONT-037 HTTP-006
    HTTP-009 HTTP-016 STD-008
    """,
)

PINGS_TWICE = _excused(
    "it relays honestly, and nothing here pings",
    """
    CFG-004 CFG-005 FRONT-002 FRONT-003 FRONT-016 FRONT-022 FRONT-025 FRONT-026 FRONT-027 FRONT-037
    HTTP-006 HTTP-009 HTTP-016 STD-008
    """,
)

STARTS_ANEW = _excused(
    "a real server answers each request, and nothing here needs a connection that lasts",
    """
    CFG-004 FRONT-002 FRONT-003 FRONT-016 FRONT-025 FRONT-026 FRONT-027 HTTP-016
    """,
)

IGNORES_THE_REST = _excused(
    "it relays honestly, and the check is about nothing that it ignores",
    """
    CFG-004 FRONT-002 FRONT-003 FRONT-007 FRONT-016 FRONT-022 FRONT-025 FRONT-026 FRONT-027 HTTP-006
    HTTP-009 HTTP-016
    """,
)
IGNORES_THE_REST["FRONT-037"] = "it relays no notification, so none of them counts for another server"
