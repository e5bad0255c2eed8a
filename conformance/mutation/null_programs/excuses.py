"""Which checks the liars may pass, and why: those about the part of a proxy's work that each of them does honestly.

Most liars are the small relay (`relay`) with one lie. They may pass a check that the relay passes, unless the lie shows in it.
The other liars invent what each check is about, so they pass none.
"""

from __future__ import annotations


def _because(reason: str, ids: str) -> dict[str, str]:
    return dict.fromkeys(ids.split(), reason)


#: what the small relay does as the requirement says, by the id of the requirement
RELAYS = {
    **_because("the relay reads the file that its argument names", "CFG-002 CFG-004"),
    **_because("the relay ends with the error of its JSON parser", "CFG-005"),
    **_because("the relay waits for its client and its servers", "OPS-060"),
    **_because(
        "the relay passes the words, the environment and the headers of an entry on as they are, and to its server alone",
        "CFG-010 STD-001 STD-002 STD-003 SEC-026",
    ),
    **_because("the relay speaks one revision and answers with it", "FRONT-001 FRONT-002 FRONT-173"),
    **_because("the relay refuses malformed lines, and ignores the version of JSON-RPC", "FRONT-006"),
    **_because(
        "the relay declares little, does that, offers a server nothing, and refuses all other methods",
        "FRONT-003 FRONT-026 FRONT-171",
    ),
    **_because(
        "the relay answers each request in a thread of its own",
        "FRONT-005 FRONT-007 FRONT-047 OPS-004 OPS-012 OPS-016",
    ),
    **_because(
        "the relay passes definitions, arguments and results on as equal JSON",
        "FRONT-010 FRONT-012 FRONT-048 FRONT-167 FRONT-177",
    ),
    **_because(
        "the relay passes the error of a server on, and has one for a server that it does not reach",
        "FRONT-014 FRONT-016",
    ),
    **_because(
        "the relay gets a list anew for each request for it, and none for a call",
        "FRONT-022 FRONT-035 FRONT-071 FRONT-072 FRONT-131",
    ),
    **_because("the relay lists all tools of a group, whatever name a client gives", "FRONT-111"),
    **_because("the relay describes the type of each argument, and nothing more", "FRONT-140"),
    **_because(
        "the relay makes one exchange for each message, with the headers of the entry and of the session",
        "HTTP-001 HTTP-002 HTTP-006 HTTP-007 HTTP-008 HTTP-011 HTTP-013 HTTP-014 HTTP-018 HTTP-034 SEC-005 SSE-015",
    ),
    **_because(
        "the relay waits 30 s for an answer, fails one call at a bad one, and connects anew after it",
        "HTTP-009 HTTP-016 HTTP-017 HTTP-030 SSE-016",
    ),
    **_because("the relay reads a JSON body whatever its type is", "FRONT-133"),
    **_because("the relay asks for no compression and decompresses nothing", "HTTP-024"),
    **_because("the relay tells the client that the server answers 401", "OAUTH-029"),
    **_because("the relay opens no URL but that of an entry", "SEC-010 SEC-024"),
    **_because("the HTTP library of the relay sends no header with a line end", "SEC-009"),
    **_because("the JSON parser of the relay takes a byte order mark", "FRONT-090 STD-041"),
    **_because("the relay writes nothing to stderr", "OPS-041 OPS-042"),
    **_because("the relay asks for the first page of a list only", "FRONT-091 FRONT-166"),
    **_because("the relay makes one call of each call of its client", "FRONT-164 FRONT-165 HTTP-073"),
    **_because(
        "the relay follows the endpoint of its stream, and takes answers from the stream alone",
        "SSE-001 SSE-002 SSE-003",
    ),
    **_because(
        "the relay starts each child in a group of its own, with pipes of its own and no stderr",
        "STD-004 STD-008 STD-009 STD-010 STD-019",
    ),
    **_because(
        "the relay writes and reads lines of JSON, ignores other lines, and goes by the ids",
        "STD-011 STD-012 STD-013 STD-014 STD-018 STD-020 STD-030 STD-046",
    ),
    **_because(
        "the relay notices the end of a child at once, and starts it at the next request",
        "STD-016 STD-017 STD-033 STD-034",
    ),
    **_because("the relay closes the stdin of a child and gives it time to end", "STD-036"),
    **_because("the relay offers 2024-11-05 first", "STD-062"),
    **_because("the relay begins with `initialize` and asks for no era", "STD-038 STD-039 OPS-037"),
    **_because(
        "the relay starts a server when a client asks for it, and ends no child that is slow",
        "OPS-030 OPS-033 OPS-034 OPS-035",
    ),
    **_because("the relay connects anew at each request after a failure", "OPS-045"),
    **_because("the relay needs few descriptors for a child, and changes no limit", "OPS-036"),
    **_because(
        "the relay keeps each connection until it ends",
        "HTTP-070 OPS-050 SSE-014 STD-060",
    ),
    **_because("the relay tells a server its own name, whatever the client wrote", "FRONT-065"),
}


def _relays(why: str, *, shows: str) -> dict[str, str]:
    """What a relay with one lie may pass: not the checks in which the lie `shows`."""
    return {id_: f"{reason}, and {why}" for id_, reason in RELAYS.items() if id_ not in shows.split()}


IGNORES_IDS = {
    "FRONT-132": "it ignores ids, so one that is null too",
    "STD-042": "it ignores ids, so their spelling too",
} | _relays(
    "a server answers in the order of the requests",
    shows="FRONT-007 FRONT-047 HTTP-016 HTTP-018 HTTP-030 OPS-012 OPS-016 SSE-003 STD-012 STD-046",
)
SERVES_TEN = _relays(
    "the check makes no more than ten calls to a server",
    shows="FRONT-007 FRONT-035 FRONT-072 FRONT-131 OPS-012 OPS-016",
)
PINGS_TWICE = _relays("nothing here pings", shows="FRONT-005 FRONT-007 OPS-012 STD-020")
STARTS_ANEW = {
    "HTTP-006": "each of its sessions begins with a whole handshake",
    "SSE-013": "it opens a stream for each request, so it misses none that the server ended",
} | _relays(
    "no connection has to outlive its request",
    shows="FRONT-022 FRONT-035 FRONT-071 FRONT-164 FRONT-166 HTTP-009 SSE-001 SSE-002 SSE-003"
    " SSE-016 OPS-012 OPS-016 OPS-030 OPS-033 STD-008 STD-017 STD-019 STD-033 STD-036 HTTP-070"
    " OPS-050 SSE-014 SSE-015 STD-060",
)
IGNORES_THE_REST = _relays(
    "nothing here ends the relay or changes its file",
    shows="OPS-041 STD-008 STD-036",
)
