"""`profile` waits long for the first answer, and no longer than an answer can come."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.commands import greeting

PROBED = [sys.executable, str(Path(__file__).with_name("probed.py"))]
NULL_ID = '{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Invalid Request"}}'
OTHER_ID = '{"jsonrpc": "2.0", "id": "1001", "result": {}}'
WEB_SERVER = ["sh", "-c", f'exec {sys.executable} -m http.server "$0" --bind 127.0.0.1', "{port}", "{config}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ([*PROBED, "refuses", NULL_ID, "{config}"], ["it answered", "Invalid Request"]),
        ([*PROBED, "refuses", OTHER_ID, "{config}"], ["needs the id of the request", '"id": "1001"']),
        ([*PROBED, "refuses", "junk", "{config}"], ["stdout has 'junk', which is no message", "to stderr"]),
        ([*PROBED, "junk", r"junk\n", "{config}"], ["stdout has 'junk', which is no message"]),
        ([*PROBED, "junk", "login: ", "{config}"], ["login: ' without a line end"]),
        ([*PROBED, "junk", '{"level": "info"}\\n', "{config}"], ['{"level": "info"}, which is no message']),
        (["sh", "-c", "cat", "{config}"], ["initialize", "which is no message"]),
        (["echo", "hello", "{config}"], ["exit status 0", "stdout has 'hello"]),
    ],
)
def test_what_came_instead_of_an_answer_ends_the_wait_and_is_quoted(
    words: list[str], problems: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting, "AFTER_NOISE", 0.5)
    began = time.monotonic()
    assert main(["profile", "--", *words]) == 2
    assert time.monotonic() - began < 40
    said = capsys.readouterr().err
    assert all(problem in said for problem in problems), said
    assert "the tables [config] and [entries], and add --draft FILE" in said


def test_a_refusal_over_http_is_no_matter_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1:{port}/wrong"
    assert main(["profile", "--url", url, "--", *WEB_SERVER]) == 2
    said = capsys.readouterr().err
    assert "it refuses the client: HTTP 501" in said
    assert "within 60 s" not in said
    assert f"Look at the path of its URL ({url}) and at its transport (http)" in said
    assert main(["profile", "--url", url, "--transport", "sse", "--", *WEB_SERVER]) == 2
    assert "it refuses the client: HTTP 404" in capsys.readouterr().err


def test_a_refusal_counts_also_if_the_program_has_started_its_server(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = f'"$@" < /dev/null > /dev/null & exec {sys.executable} -m http.server "$0" --bind 127.0.0.1'
    url = "http://127.0.0.1:{port}/wrong"
    assert main(["profile", "--url", url, "--", "sh", "-c", script, "{port}", "{command}"]) == 2
    said = capsys.readouterr().err
    assert "it refuses the client: HTTP 501" in said
    assert "configuration file" not in said


@pytest.mark.slow
def test_a_silent_wait_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting, "REPORT", 0.3)
    assert main(["profile", "--", "sh", "-c", "sleep 1", "{config}"]) == 2
    assert "no answer after" in capsys.readouterr().err
