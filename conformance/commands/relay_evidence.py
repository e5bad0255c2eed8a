"""Evidence that a program is a relay (`conformance.model.relay`): the answer of its server to `initialize` reaches the client as it is.

The scripted server has a name, a version and instructions of its own, and one member that no revision defines. A gateway answers
`initialize` by itself. A gateway with the types of an SDK can repeat the name and the capabilities of its server, but not the last member.
"""

from __future__ import annotations

from typing import Any

from conformance.model.registry import REVISIONS
from mock_servers.script import Rule, reply

NAME, VERSION, INSTRUCTIONS = "zebra-songs", "7.3.1", "The zebra sings."
_CAPABILITIES = {kind: {"listChanged": False} for kind in ("tools", "prompts", "resources")}
_OWN: dict[str, Any] = {
    "capabilities": _CAPABILITIES,
    "serverInfo": {"name": NAME, "version": VERSION},
    "instructions": INSTRUCTIONS,
    "conformanceProbe": {"of": [NAME]},
}


def greeting_rules() -> list[Rule]:
    """The rules of the scripted server for `initialize`, one for each legacy revision."""
    return [
        Rule("initialize", [reply({"protocolVersion": one, **_OWN})], params={"protocolVersion": one})
        for one in REVISIONS[:-1]
    ]


def lost_members(result: Any) -> list[str] | None:
    """The members of the server's answer that did not reach the client; empty for a relay, None if the answer is not the server's.

    An answer with the `serverInfo` of the server, or with the member that no revision defines, counts as the server's.
    """
    if not isinstance(result, dict):
        return None
    lost = [member for member, content in _OWN.items() if result.get(member) != content]
    return None if {"serverInfo", "conformanceProbe"} <= set(lost) else lost
