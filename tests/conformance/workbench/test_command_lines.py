"""One upstream on the command line: its words, and what they cannot say."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from conformance.errors import NotApplicable, UsageError
from conformance.model.profile import Profile
from conformance.model.profile_tables import ConfigTable, SingleTable
from conformance.model.sut import make_sut
from conformance.workbench.command_lines import words_for

SINGLE = SingleTable(
    command=("{options}", "--", "{command}"),
    http=("{url}", "--http"),
    header=("--header", "{name}: {value}"),
    env=("-e", "{name}", "{value}"),
    client=("--client", '{"client_id":"{client_id}"}'),
)
NOTHING = ConfigTable(variables=False, reload=False)


@pytest.mark.parametrize(
    ("single", "entry", "words"),
    [
        (
            SINGLE,
            {"description": "d", "command": "server", "args": ["a b"], "env": {"A": "1", "B": "2"}},
            ["-e", "A", "1", "-e", "B", "2", "--", "server", "a b"],
        ),
        (
            SingleTable(command=("--stdio", "{shell}")),
            {"command": "server", "args": ["a b"]},
            ["--stdio", "server 'a b'"],
        ),
        (
            SINGLE,
            {"url": "http://x", "headers": {"X-A": "1"}, "oauth_client_id": "me"},
            ["--header", "X-A: 1", "--client", '{"client_id":"me"}', "http://x", "--http"],
        ),
        (SingleTable(sse=("--sse={url}",)), {"url": "http://x", "type": "sse"}, ["--sse=http://x"]),
    ],
)
def test_each_member_of_the_entry_becomes_the_words_of_its_line(
    single: SingleTable, entry: dict[str, Any], words: list[str]
) -> None:
    assert words_for(single, NOTHING, entry) == words


def test_a_program_that_signs_in_only_when_told_gets_its_words_for_a_protected_server() -> None:
    single = SingleTable(http=("{url}", "{options}"), client=("--id", "{client_id}"), oauth=("--oauth",))
    entry = {"url": "http://x", "oauth_client_id": "me"}
    assert words_for(single, NOTHING, entry, signs_in=True) == ["http://x", "--oauth", "--id", "me"]
    assert words_for(single, NOTHING, {"url": "http://x"}, signs_in=True) == ["http://x", "--oauth"]
    assert words_for(single, NOTHING, {"url": "http://x"}) == ["http://x"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"url": "http://x", "type": "sse"}, "of the kind sse"),
        ({"command": "x", "timeout": "1s"}, "'timeout' of a server"),
        ({"command": "x", "args": ["${HOME}"]}, "no variables"),
    ],
)
def test_what_the_line_has_no_place_for_does_not_apply(entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        words_for(SINGLE, NOTHING, entry)
    with pytest.raises(NotApplicable, match="no line"):
        words_for(SingleTable(http=("{url}",)), NOTHING, {"url": "http://x", "headers": {"A": "1"}})


def test_the_words_stand_where_the_command_says_or_at_its_end() -> None:
    profile = Profile.parse('single.http = ["{url}"]', "mine")
    between = make_sut([sys.executable, "-m", "x", "{upstream}", "--last"], profile)
    assert between.command_for(None, ["u"])[1:] == ("-m", "x", "u", "--last")
    assert between.command_for(None)[1:] == ("-m", "x", "--last")
    assert make_sut([sys.executable, "-m", "x"], profile).command_for(None, ["u"])[1:] == ("-m", "x", "u")


@pytest.mark.parametrize(
    ("command", "lines", "problem"),
    [
        (["{config}"], 'single.http = ["{url}"]', "the profile has \\[single\\]"),
        (["--to={upstream}"], 'single.http = ["{url}"]', "must be one word"),
        (["{upstream}", "{upstream}"], 'single.http = ["{url}"]', "must be one word"),
        (["serve"], "", "write \\[single\\] into a profile"),
    ],
)
def test_a_command_that_does_not_fit_its_profile_is_refused(
    command: list[str], lines: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        make_sut([sys.executable, *command], Profile.parse(lines, "mine"))
