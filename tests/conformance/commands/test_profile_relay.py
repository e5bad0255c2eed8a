"""`profile` says that a program is a relay if the answer of the scripted server reaches the client as it is, and else not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands.relay_evidence import lost_members
from conformance.model.profile import Profile

PROBED = str(Path(__file__).with_name("probed.py"))
URL_RELAY = str(Path(__file__).parents[1] / "implementations" / "right_relay.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "is_relay", "is_asked"),
    [
        ([PROBED, "relay", "{command}"], True, False),
        ([URL_RELAY, "{url}"], True, False),
        ([PROBED, "repeats", "{command}"], False, True),
        ([PROBED, "gateway", "{command}"], False, False),
    ],
)
def test_a_relay_is_known_by_the_answer_to_initialize(
    command: list[str], is_relay: bool, is_asked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "--", sys.executable, *command]) == 0
    shown = capsys.readouterr().out
    assert Profile.parse(shown, "mine").relay is is_relay
    assert ("\n# relay = true\n" in shown) is is_asked
    assert ("without instructions, conformanceProbe" in shown) is is_asked
    assert ("# Look at this: stdout has 'Welcome!', which is no message" in shown) is ("gateway" in command)


def test_an_answer_without_anything_of_the_server_is_no_evidence() -> None:
    assert lost_members({"serverInfo": {"name": "other"}, "capabilities": {}}) is None
    assert lost_members(None) is None
