"""Which checks the liars may pass, and why: each passes those of the part of a proxy's work that it does honestly.

The other liars invent what each check is about, so they pass none.
"""

from __future__ import annotations


def _excused(reason: str, ids: str) -> dict[str, str]:
    return dict.fromkeys(ids.split(), reason)


IGNORES_IDS = _excused(
    "one request at a time waits at an upstream here, so the oldest one is the right one",
    """
    CFG-004 CFG-010 FRONT-002 FRONT-003 FRONT-010 FRONT-014 FRONT-016 FRONT-021 FRONT-025 FRONT-026
    FRONT-027 FRONT-090 FRONT-091 HTTP-001 HTTP-002 HTTP-006 HTTP-007 HTTP-008 HTTP-009 HTTP-013
    HTTP-014 SEC-005 SSE-001 SSE-002 SSE-007 STD-001 STD-003 STD-004 STD-008 STD-009 STD-010 STD-011
    STD-014 STD-016 STD-019 STD-020 STD-041 STD-042
    """,
)

SERVES_TEN = _excused(
    "it relays the first ten calls to an upstream honestly, and the check makes no more",
    """
    CFG-004 CFG-010 FRONT-002 FRONT-003 FRONT-010 FRONT-014 FRONT-016 FRONT-021 FRONT-022 FRONT-025
    FRONT-026 FRONT-027 FRONT-037 FRONT-090 FRONT-091 HTTP-001 HTTP-002 HTTP-006 HTTP-007 HTTP-008
    HTTP-009 HTTP-013 HTTP-014 HTTP-016 HTTP-018 SEC-005 SSE-001 SSE-002 SSE-007 STD-001 STD-003
    STD-004 STD-008 STD-009 STD-010 STD-011 STD-013 STD-014 STD-016 STD-019 STD-020 STD-041
    """,
)

PINGS_TWICE = _excused(
    "it relays honestly, and nothing here pings",
    """
    CFG-004 CFG-005 CFG-010 FRONT-002 FRONT-003 FRONT-010 FRONT-014 FRONT-016 FRONT-021 FRONT-022
    FRONT-025 FRONT-026 FRONT-027 FRONT-037 FRONT-090 FRONT-091 HTTP-001 HTTP-002 HTTP-006 HTTP-007
    HTTP-008 HTTP-009 HTTP-013 HTTP-014 HTTP-016 HTTP-018 SEC-005 SSE-001 SSE-002 SSE-007 STD-001
    STD-003 STD-004 STD-008 STD-009 STD-010 STD-011 STD-013 STD-014 STD-016 STD-019 STD-041
    """,
)

STARTS_ANEW = _excused(
    "a real server answers each request, and nothing here needs a connection that lasts",
    """
    CFG-004 CFG-010 FRONT-002 FRONT-003 FRONT-010 FRONT-014 FRONT-016 FRONT-021 FRONT-025 FRONT-026
    FRONT-027 FRONT-090 FRONT-091 HTTP-001 HTTP-002 HTTP-008 HTTP-013 HTTP-014 HTTP-016 HTTP-018
    SEC-005 STD-001 STD-003 STD-004 STD-010 STD-011 STD-013 STD-014 STD-016 STD-019 STD-020 STD-041
    """,
)

IGNORES_THE_REST = _excused(
    "it relays honestly, and the check is about nothing that it ignores",
    """
    CFG-004 CFG-010 FRONT-002 FRONT-003 FRONT-007 FRONT-010 FRONT-014 FRONT-016 FRONT-021 FRONT-022
    FRONT-025 FRONT-026 FRONT-027 FRONT-090 FRONT-091 HTTP-001 HTTP-002 HTTP-006 HTTP-007 HTTP-008
    HTTP-009 HTTP-013 HTTP-014 HTTP-016 HTTP-018 SEC-005 SSE-001 SSE-002 STD-001 STD-003 STD-004
    STD-009 STD-010 STD-011 STD-013 STD-014 STD-016 STD-019 STD-020 STD-041
    """,
)
IGNORES_THE_REST["FRONT-037"] = "it relays no notification, so none of them counts for another server"
#: for the calls of the other checks it has no excuse
NEVER_CALLS = {
    "OAUTH-029": "it tells that the server answers 401, all that the requirement asks of a proxy that cannot register"
}
