"""What the options of several commands have in common."""

from __future__ import annotations

import pytest

from dynamic_mcp.commands.arguments import Parser
from dynamic_mcp.commands.serve import parser


@pytest.mark.parametrize(("word", "seconds"), [("30", 30.0), ("500ms", 0.5), ("1min", 60.0)])
def test_duration_of_an_option(word: str, seconds: float) -> None:
    assert Parser(prog="p").seconds_of("--linger", word) == seconds


@pytest.mark.parametrize("word", ["", "0", "-1", "soon", "1.5"])
def test_other_words_end_the_program_with_the_syntax(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Parser(prog="p").seconds_of("--linger", word)
    assert ended.value.code == 2
    assert "p: error: --linger: " in (said := capsys.readouterr().err)
    assert "write a whole number of seconds such as 30" in said


def test_default_of_serve_is_a_duration() -> None:
    command_line = parser()
    assert command_line.seconds_of("--linger", command_line.parse_args([]).linger) == 300.0
