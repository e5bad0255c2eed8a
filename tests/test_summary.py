"""The last environment of `tox` repeats what failed in the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import summary

_HEAD = "name: {name}\nrun_id: {run}\nenv HOME: /home\nmetadata pid: 1\ncwd: /x\nallow: *\ncmd: {command}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout whose `tox` runs three environments, of which `fast` is none."""
    (tmp_path / "tox.ini").write_text("[tox]\nenv_list = lint, conformance, summary\n", encoding="utf-8")
    return tmp_path


def log(root: Path, name: str, file: str, output: str, exit_code: str = "1") -> None:
    """A log as tox 4 writes it."""
    folder = root / ".tox" / name / "log"
    folder.mkdir(parents=True, exist_ok=True)
    head = _HEAD.format(name=name, run=file, command=f"{name}-command --strict")
    (folder / f"{file}.log").write_text(f"{head}exit_code: {exit_code}\n{output}", encoding="utf-8")


def test_failed_command_is_shown_with_its_last_lines(root: Path) -> None:
    log(root, "lint", "1-commands[0]", "fine\n", exit_code="0")
    log(root, "conformance", "2-commands[0]", "\n".join(f"line {n} of output" for n in range(100)))

    shown = list(summary.failures(root, root / ".tox"))

    assert shown[0] == "conformance failed: conformance-command --strict"
    assert "line 99 of output" in shown[-1]
    assert not any("line 3 of output" in line or "fine" in line for line in shown)
    assert f"all output: {root / '.tox' / 'conformance' / 'log' / '2-commands[0].log'}" in "\n".join(shown)


def test_each_red_check_is_named_once_even_if_it_is_far_from_the_end(root: Path) -> None:
    progress = "CFG-001   pass Fine (0.2 s)\nCFG-002   fail First (0.1 s)\nSTD-003   warn Second (0.1 s)\n"
    log(root, "conformance", "1-commands[0]", progress + "x\n" * 200 + "CFG-002 fail  First\n" + "x\n" * 200)

    shown = "\n".join(summary.failures(root, root / ".tox"))

    assert shown.count("CFG-002") == 1
    assert "STD-003   warn Second" in shown
    assert "CFG-001" not in shown


def test_check_that_passes_at_its_second_attempt_is_not_red(root: Path) -> None:
    first = "CFG-002   fail Slow (7.7 s) (will be retried alone)\nCFG-002   pass Slow (0.8 s)\n"
    log(root, "conformance", "1-commands[0]", first + "x\n" * 200)

    assert "CFG-002" not in "\n".join(summary.failures(root, root / ".tox"))


def test_environments_that_tox_alone_does_not_run_are_left_out(root: Path) -> None:
    log(root, "fast", "1-commands[0]", "an older failure\n")

    assert list(summary.failures(root, root / ".tox")) == []


def test_log_without_a_status_counts_as_a_failure(root: Path) -> None:
    (root / ".tox" / "lint" / "log").mkdir(parents=True)
    (root / ".tox" / "lint" / "log" / "1-commands[0].log").write_text("another form\n", encoding="utf-8")

    assert "another form" in "\n".join(summary.failures(root, root / ".tox"))


def test_tox_runs_the_summary_last() -> None:
    assert summary.environments(Path(__file__).parents[1])[-1] == "summary"
