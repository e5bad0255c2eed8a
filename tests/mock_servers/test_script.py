from pathlib import Path
from typing import Any

import pytest

from mock_servers.script import Grandchild, Http, Rule, Script, ScriptError, error, on_call, raw, sleep


def test_script_survives_a_round_trip_through_its_file(tmp_path: Path) -> None:
    script = Script(
        era="both",
        on=[on_call("echo", sleep(1), error(-1, "no"), nth=2), Rule("ping", [raw(b"\xff")])],
        startup=[raw("noise\n")],
        grandchildren=[Grandchild(holds_stdout=True)],
        resources=[],
        http=Http(answers="sse"),
    )
    assert Script.load(script.save(tmp_path / "s.json")) == script


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"tool": []}, "unknown field tool"),
        ({"era": "future"}, "era: 'future'"),
        ({"page_size": 0}, "page_size"),
        ({"on": [{"methods": "x"}]}, r"on\[0\]: unknown field methods"),
        ({"on": [{"actions": []}]}, r"on\[0\].*method"),
        (
            {"on": [{"method": "x", "actions": [{"do": "dance"}]}]},
            r"on\[0\].actions\[0\]: unknown action 'dance'",
        ),
        ({"startup": ["reply"]}, r"startup\[0\]"),
        ({"grandchildren": [{"loud": True}]}, "unknown field loud"),
        ({"http": {"answer": "sse"}}, "http: unknown field answer"),
        ({"http": {"answers": "xml"}}, "http.answers: 'xml'"),
        ([], "expected an object"),
    ],
)
def test_error_names_the_wrong_field(wrong: Any, named: str) -> None:
    with pytest.raises(ScriptError, match=named):
        Script.from_dict(wrong)


@pytest.mark.parametrize(
    ("nth", "times", "served"),
    [(None, None, [1, 2, 3, 4]), (2, None, [2]), (None, 2, [1, 2]), (2, 2, [2, 3])],
)
def test_rule_serves_its_occurrences(nth: int | None, times: int | None, served: list[int]) -> None:
    rule = Rule("m", nth=nth, times=times)
    assert [n for n in range(1, 5) if rule.serves(n)] == served


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lifetime": 3}, "oauth: unknown field lifetime"),
        ({"faults": [{"at": "token", "code": 503}]}, r"oauth.faults\[0\]: unknown field code"),
        ({"faults": [{"at": "elsewhere"}]}, r"oauth.faults\[0\].at: 'elsewhere'"),
        ({"registered_auth": "magic"}, "oauth.registered_auth: 'magic'"),
        ({"token_form": "xml"}, "oauth.token_form: 'xml'"),
    ],
)
def test_error_names_the_wrong_oauth_field(wrong: Any, named: str) -> None:
    with pytest.raises(ScriptError, match=named):
        Script.from_dict({"oauth": wrong})
