"""The script with every feature. The official suite tests the rest of it (tests/conformance/official)."""

from pathlib import Path
from typing import Any

from mock_servers.everything import everything
from mock_servers.script import Script

from .driver import ENVELOPE, running


def test_everything_survives_a_round_trip_through_its_file(tmp_path: Path) -> None:
    script = everything()

    assert Script.load(script.save(tmp_path / "s.json")) == script


def test_stdio_variant_has_no_stream_actions() -> None:
    over_http, over_stdio = everything(), everything(streams=False)

    assert {action["do"] for rule in over_http.on for action in rule.actions} >= {"end_stream"}
    assert "end_stream" not in {action["do"] for rule in over_stdio.on for action in rule.actions}


def test_required_input_needs_its_request_state(tmp_path: Path) -> None:
    name = "test_input_required_result_tampered_state"
    answers = {"confirm": {"action": "accept", "content": {"name": "x"}}}
    with running(tmp_path, everything(streams=False)) as mock:

        def call(**more: Any) -> Any:
            return mock.ask("tools/call", {"name": name, "arguments": {}, **ENVELOPE, **more})

        required = call()["result"]
        done = call(inputResponses=answers, requestState=required["requestState"])
        tampered = call(inputResponses=answers, requestState="other")

    assert required["resultType"] == "input_required"
    assert done["result"]["resultType"] == "complete"
    assert tampered["error"]["code"] == -32602
