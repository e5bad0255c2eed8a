"""The hostile servers: each script survives its file, and its first paragraph says what it does."""

import subprocess
from pathlib import Path

import pytest

from mock_servers.hostile import HOSTILE, hostile
from mock_servers.script import Script

from .driver import COMMAND, WITHIN, running


@pytest.mark.parametrize("name", HOSTILE)
def test_every_script_survives_a_round_trip_through_its_file(name: str, tmp_path: Path) -> None:
    script = HOSTILE[name].script()
    assert Script.load(script.save(tmp_path / "script.json")) == script


@pytest.mark.parametrize("name", HOSTILE)
def test_every_server_says_what_it_does_in_a_sentence(name: str) -> None:
    assert HOSTILE[name].attack.endswith(".")


def test_the_command_lists_every_server() -> None:
    done = subprocess.run([*COMMAND[:-1], "hostile"], capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0
    assert [line.partition(" (")[0] for line in done.stdout.splitlines()] == list(HOSTILE)


def test_a_hostile_server_works_until_the_attack(tmp_path: Path) -> None:
    with running(tmp_path, None, "--hostile", "prints-digits") as mock:
        assert "result" in mock.call("echo")
        mock.start("tools/call", {"name": "attack"})
        assert mock.line() == b"1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stdio", "--hostile", "no-such-server"], "see: python -m mock_servers hostile"),
        (["http", "--hostile", "prints-digits"], "is a server for stdio, not for http"),
    ],
)
def test_a_wrong_name_is_a_usage_error(arguments: list[str], words: str) -> None:
    done = subprocess.run([*COMMAND[:-1], *arguments], capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 2
    assert words in done.stderr


def test_two_servers_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two hostile servers are named prints-digits"):
        hostile("prints-digits")(Script)
