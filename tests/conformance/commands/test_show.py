"""`show ID`: complete for every requirement, plain in a pipe, and as wide as the terminal."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from conformance.checks.loading import load_checks
from conformance.cli import main
from conformance.commands.show import show
from conformance.model.profile import Profile
from conformance.model.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.checks import Check


def shown(
    requirement_id: str, *profiles: str, width: int | None = None, checks: dict[str, Check] | None = None
) -> str:
    """The output: of a pipe or, with a width, of a terminal."""
    registry = Registry.load()
    terminal = width is not None
    console = Console(
        file=io.StringIO(), highlight=False, force_terminal=terminal, width=width, color_system=None
    )
    checks = load_checks() if checks is None else checks
    show(console, registry, registry[requirement_id], checks.get(requirement_id), profiles)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.slow
def test_every_requirement_is_shown_with_all_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading the same profiles for each requirement would take ten seconds.
    monkeypatch.setattr(Profile, "load", functools.cache(Profile.load))
    for requirement in Registry.load():
        output = shown(requirement.id)
        for text in (requirement.statement, requirement.observed, requirement.timing, requirement.conflict):
            assert " ".join((text or "").split()) in output
        for source in requirement.sources:
            assert f"  {source}" in output
            assert (source.quote or "") in output


def test_a_checked_requirement_has_check_mutants_profiles_and_commands() -> None:
    output = shown("STD-046")
    assert "conformance/checks/std_junk.py:" in output
    assert "\n  dmcp: known warn: the answer with an unknown id" in output
    (command,) = [line for line in output.splitlines() if "conformance.mutants" in line]
    assert command.split()[-2] in output.partition("wrong implementations")[2].partition("implementations")[0]


def test_a_mutant_is_shown_with_its_name_and_with_what_its_docstring_adds() -> None:
    caught = shown("FRONT-005").partition("that it catches\n")[2].partition("\n\n")[0].splitlines()
    assert caught == [
        "  does-not-know-ping: dmcp 1.5.0 behaves like this.",
        "  serves-one-request-after-the-other",
    ]


def test_a_requirement_without_a_check_is_planned() -> None:
    assert shown("HARD-001", checks={}).endswith("check\n  planned: no check exists yet\n")


def test_a_profile_file_is_shown_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[absent]\nCFG = "it is configured elsewhere"\n', encoding="utf-8")
    assert "\n  mine: declared absent: it is configured elsewhere\n" in shown("CFG-011", str(file))


def test_paragraphs_have_the_width_of_the_terminal_and_commands_do_not_break() -> None:
    lines = shown("CFG-011", width=60).splitlines()
    at = lines.index("run it")
    # The two lines of the title stay whole as well.
    assert max(len(line) for line in lines[2:at]) <= 60
    assert all(line.endswith("{config}") for line in lines[at + 1 :])


def test_a_pipe_gets_one_line_for_each_paragraph_and_no_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "CFG-011"]) == 0
    output = capsys.readouterr().out
    assert " ".join(Registry.load()["CFG-011"].observed.split()) in output
    assert "\x1b" not in output
