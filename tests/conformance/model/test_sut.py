"""The command of the system under test: its name in reports, and the mistakes that it can have."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conformance.errors import UsageError
from conformance.model.profile import Profile
from conformance.model.sut import make_sut

RELAY = str(Path(__file__).parents[1] / "implementations" / "right_relay.py")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["sh", RELAY, "{config}"], "right_relay.py"),
        ([sys.executable, RELAY, "{config}"], "right_relay.py"),
        ([sys.executable, "-m", "some.module", "{config}"], "some.module"),
        (["sh", "-c", "cat", "{config}"], "sh"),
        (["env", "{config}"], "env"),
    ],
)
def test_an_interpreter_lends_its_name_to_no_report(command: list[str], name: str) -> None:
    assert make_sut(command).name == name
    assert make_sut(command, Profile("mine")).name == "mine"


@pytest.mark.parametrize(
    ("command", "profile", "problem"),
    [
        (["sh", RELAY, "{config}", "{port}"], "", "nothing says where the program listens: write transport"),
        (["sh", RELAY, "--port={port}"], "", "nothing says where the program listens: write transport"),
        (["sh", RELAY], "", f"for example: -- sh {RELAY} {{config}}"),
        (["sh", RELAY, "{cofnig}"], "", "{cofnig} stands for nothing; did you mean {config}?"),
        (["sh", RELAY, "{url}"], "", f"`profile -- sh {RELAY} {{url}}` writes one"),
        (
            ["sh", RELAY, "{url}"],
            'single.http = ["{url}"]',
            "remove {url} from the command, or write {upstream}",
        ),
    ],
)
def test_a_placeholder_without_effect_is_refused(command: list[str], profile: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_sut(command, Profile.parse(profile, "mine"))
    assert problem in str(refused.value)


def test_other_words_in_braces_are_those_of_the_program() -> None:
    words = ["-c", "for x in {confg}; do :; done", "{name}", '{"a": 1}', os.devnull]
    assert make_sut(["sh", *words, "{config}"]).command[1:] == (*words, "{config}")
