"""The command line: exit statuses, and the errors that stop it before a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

import conformance
from conformance.checks import Check, make_check
from conformance.cli import main
from conformance.errors import NotApplicable, Untestable, Violation
from conformance.model.profile import Profile
from conformance.model.registry import Registry
from conformance.model.sut import make_sut
from tests.conformance.fakes import MUST, SHOULD, FakeFactory, checks_of, passing, raising

COMMAND = ["--", sys.executable, "{config}"]
VIOLATION = Violation("an answer", "silence")


def run_cli(*words: str, checks: tuple[Check, ...] = (), command: list[str] = COMMAND) -> int:
    return main(["run", *words, *command], checks=checks_of(*checks), open_workbench=FakeFactory())


def test_0_when_everything_required_passed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(checks=(passing(),)) == 0
    assert f"1 pass, {len(Registry.load()) - 1} planned" in capsys.readouterr().out


def test_1_when_something_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(checks=(passing(), raising(VIOLATION, "CFG-002"))) == 1
    output = capsys.readouterr().out
    assert "seen       silence" in output
    assert "--only CFG-002" in output


def test_a_warning_is_0_and_1_when_strict() -> None:
    assert run_cli(checks=(raising(VIOLATION, SHOULD),)) == 0
    assert run_cli("--strict", checks=(raising(VIOLATION, SHOULD),)) == 1


def test_3_when_the_harness_broke_even_beside_a_failure() -> None:
    assert run_cli(checks=(raising(VIOLATION), raising(KeyError("x"), "CFG-002"))) == 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_own_status(
    number: int, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupt(workbench: Any) -> None:
        os.kill(os.getpid(), number)
        await anyio.sleep_forever()

    report = tmp_path / "report.json"
    checks = (passing(), make_check(interrupt, "CFG-002"))
    assert run_cli("--jobs", "1", "--report", f"json={report}", checks=checks) == status
    document = json.loads(report.read_text(encoding="utf-8"))
    assert (document["not_run"], document["stopped_by"]) == (["CFG-002"], signal.Signals(number).name)
    assert "INCOMPLETE" in capsys.readouterr().out


def test_1_and_a_hint_when_the_program_answers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def hears_nothing(workbench: Any) -> None:
        workbench.answered = False
        raise Untestable("no answer to initialize: exit status 1")

    checks = tuple(make_check(hears_nothing, f"CFG-{number:03}") for number in range(1, 10))
    assert run_cli("--jobs", "1", checks=checks) == 1
    output = capsys.readouterr().out
    assert "5 checks untestable  for the same cause" in output
    assert output.count("reason     no answer to initialize") == 1
    assert "answered nothing): CFG-006 CFG-007 CFG-008 CFG-009" in output
    assert "conformance smoke" in output
    assert run_cli("--jobs", "1", "--no-early-stop", checks=checks) == 1
    assert "9 untestable" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "CGF"], "did you mean"),
        (["--skip", "CGF"], "did you mean"),
        (["--only", "OPS"], "nothing to run"),
        (["--skip", "DOC"], "nothing to run"),
        (["--profile", "no-such"], "there is no profile 'no-such'"),
        (["--baseline", "/no/such/file.toml"], "No such file"),
        (["--report", "json=/no/such/folder/x"], "No such file"),
        (["--write-baseline", "/no/such/folder/x"], "No such file"),
        (["--write-baseline", "/etc/passwd"], "the file exists"),
        (["--update-baseline"], "name the file with --baseline FILE"),
        (["--update-baseline", "--write-baseline", "x"], "not allowed with"),
        (["--rerun-failed", "/no/such/report.json"], "No such file"),
        (["--rerun-failed", "/etc/passwd"], "not a JSON report"),
        (["--jobs", "0"], "--jobs"),
        (["--time-scale", "nan"], "--time-scale"),
        (["--onyl", "CFG"], "--onyl"),
        (["CGF"], "did you mean"),
    ],
)
def test_2_for_a_wrong_option(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(*words, checks=(passing(),)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--", "no-such-program-anywhere", "{config}"], "was not found on PATH"),
        (["--", "/etc/passwd", "{config}"], "is not an executable file"),
        (["--", sys.executable], "add {config}"),
        (["--", sys.executable, "proxy.py", "{config}"], f"'proxy.py' (tried {Path.cwd() / 'proxy.py'})"),
        (
            ["--", "env", "A=b.js", "node", "./dist/main.mjs", "{config}"],
            "there is no file './dist/main.mjs'",
        ),
        (["--"], "there is no command after --"),
    ],
)
def test_2_for_a_wrong_command(command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(checks=(passing(),), command=command) == 2
    assert message in capsys.readouterr().err


def test_a_selector_alone_selects(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli("CFG-002", checks=(raising(VIOLATION), passing("CFG-002"))) == 0
    assert "1 pass" in capsys.readouterr().out


def test_2_when_all_selected_requirements_are_absent(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('name = "mine"\n[absent]\nCFG = "none"\n', encoding="utf-8")
    assert run_cli("--profile", str(profile), checks=(passing(),)) == 2


def test_2_when_no_selected_requirement_applies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(checks=(raising(NotApplicable("it makes no modern request")),)) == 2
    assert "nothing to check: no selected requirement applies" in capsys.readouterr().err


def test_a_known_failure_is_0_and_a_stale_entry_1(tmp_path: Path) -> None:
    baseline = tmp_path / "known.toml"
    baseline.write_text('[[known]]\nid = "CFG-001"\nverdict = "fail"\nreason = "issue 7"\n', encoding="utf-8")
    assert run_cli("--baseline", str(baseline), checks=(raising(VIOLATION),)) == 0
    assert run_cli("--baseline", str(baseline), checks=(passing(),)) == 1


def test_writing_a_baseline_does_not_change_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = tmp_path / "known.toml"
    assert run_cli("--write-baseline", str(baseline), checks=(raising(VIOLATION), passing("CFG-002"))) == 1
    assert 'reason = "TODO: say why; seen: silence"' in baseline.read_text(encoding="utf-8")
    assert "1 added, 0 removed, 0 changed" in capsys.readouterr().out
    assert run_cli("--baseline", str(baseline), checks=(raising(VIOLATION),)) == 2
    assert "write the reason in place of TODO" in capsys.readouterr().err


def test_an_updated_baseline_loses_its_stale_entries(tmp_path: Path) -> None:
    baseline = tmp_path / "known.toml"
    baseline.write_text('[[known]]\nid = "CFG-001"\nverdict = "fail"\nreason = "issue 7"\n', encoding="utf-8")
    words = ["--baseline", str(baseline)]
    assert run_cli(*words, "--update-baseline", checks=(passing(),)) == 1
    assert baseline.read_text(encoding="utf-8") == ""
    assert run_cli(*words, checks=(passing(),)) == 0


def test_rerun_failed_runs_what_failed_warned_or_did_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    checks = (passing(), raising(VIOLATION, "CFG-002"), raising(VIOLATION, SHOULD))
    assert run_cli("--report", f"json={report}", checks=checks) == 1
    document = json.loads(report.read_text(encoding="utf-8"))
    report.write_text(json.dumps({**document, "not_run": ["CFG-003"]}), encoding="utf-8")
    capsys.readouterr()
    again = (passing(), passing("CFG-002"), passing("CFG-003"), passing(SHOULD))
    assert run_cli("--rerun-failed", str(report), checks=again) == 0
    assert "3 pass" in capsys.readouterr().out
    assert run_cli("--rerun-failed", str(report), "--only", MUST, checks=again) == 2
    assert "nothing failed in" in capsys.readouterr().err


def test_reports_are_written(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    words = ["--report", f"json={path}", "--report", f"junit={tmp_path / 'out.xml'}"]
    assert run_cli(*words, checks=(passing(),)) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["results"][0]["id"] == MUST
    assert (tmp_path / "out.xml").exists()


def test_list_prints_one_line_per_requirement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "CFG"], checks={}) == 0
    ids = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert ids == [one.id for one in Registry.load() if one.family == "CFG"]


def test_show_prints_statement_sources_and_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "cfg-001"], checks=checks_of(passing())) == 0
    output = capsys.readouterr().out
    assert "User-specified path (no default discovery)" in output
    assert "It holds." in output


@pytest.mark.parametrize("id_", ["CFG", "CFG-0001"])
def test_show_needs_the_id_of_a_requirement(id_: str) -> None:
    assert main(["show", id_], checks={}) == 2


def test_smoke_shows_the_words_of_the_command_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = r"import sys; sys.exit('\x1b[2J\x9b31m\u202eGr\xfc\xdfe')"

    assert main(["smoke", "--", sys.executable, "-c", code, "{config}"], checks={}) == 1

    shown = capsys.readouterr().out
    assert "[2J\N{REPLACEMENT CHARACTER}31m\N{REPLACEMENT CHARACTER}Grüße" in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_smoke_with_a_broken_workbench_blames_the_harness(capsys: pytest.CaptureFixture[str]) -> None:
    # The fake workbench has no upstreams.
    assert main(["smoke", *COMMAND], checks={}, open_workbench=FakeFactory()) == 3
    assert "The runner itself broke" in capsys.readouterr().out


def test_help_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["run"], ["list"], ["show"], ["smoke"]):
        assert main([*words, "--help"], checks={}) == 0
        assert "usage:" in capsys.readouterr().out


def test_the_package_runs_as_a_module_from_anywhere(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(conformance.__file__).parents[1])}
    words = [sys.executable, "-m", "conformance", "list", "CFG-001"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout[:7]) == (0, "CFG-001")


def test_a_reader_that_goes_away_is_no_error() -> None:
    words = [sys.executable, "-m", "conformance", "list"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_that_goes_away_does_not_end_a_run(tmp_path: Path) -> None:
    # As a process of its own, because rich redirects the descriptor of stdout.
    code = (
        "import sys; from tests.conformance.test_cli import run_cli; from tests.conformance.fakes import passing;"
        "sys.exit(run_cli('--report', 'json=' + sys.argv[1], checks=(passing(), passing('CFG-002'))))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    report = tmp_path / "report.json"
    words = [sys.executable, "-c", code, str(report)]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(report.read_text(encoding="utf-8"))["results"]) == 2


@pytest.mark.parametrize(
    "command",
    [
        ["docker", "run", "image", "/app/proxy.js"],
        [sys.executable, "-c", "import a.py"],
        [sys.executable, "--loader=x.js"],
    ],
)
def test_a_word_that_names_no_local_script_is_no_error(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.touch(mode=0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert make_sut([*command, "{config}"]).command[1:-1] == tuple(command[1:])


def test_the_rerun_line_keeps_what_changes_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile, known = tmp_path / "mine.toml", tmp_path / "known.toml"
    profile.write_text('name = "mine"\n', encoding="utf-8")
    known.touch()
    words = ["--profile", str(profile), "--baseline", str(known), "--time-scale", "2.5", "--strict"]
    assert run_cli(*words, checks=(raising(VIOLATION),)) == 1
    rerun = f"run --only {MUST} {' '.join(words)} -- {sys.executable} {{config}}"
    assert rerun in capsys.readouterr().out


def test_files_in_the_command_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.js").touch()
    sut = make_sut([sys.executable, "server.js", "serve", "{config}"])
    assert sut.command == (sys.executable, str(tmp_path / "server.js"), "serve", "{config}")
    assert sut.command_for(Path("/c.json"))[-1] == "/c.json"
    assert sut.command_for(None) == sut.command[:-1]


def test_a_command_has_the_name_of_its_profile_or_program(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('name = "mine"\n', encoding="utf-8")
    command = [sys.executable, "{config}"]
    assert make_sut(command, Profile.load(str(profile))).name == "mine"
    assert make_sut(command).name == Path(sys.executable).name


def test_a_module_of_the_callers_directory_stays_importable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_proxy").mkdir()
    sut = make_sut([sys.executable, "-m", "my_proxy", "{config}"])
    assert sut.environment == {"PYTHONPATH": str(tmp_path)}


def test_a_missing_library_is_reported_with_the_way_to_install_it() -> None:
    code = "import sys; sys.modules['rich'] = None; from conformance.__main__ import main; sys.exit(main())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert done.returncode == 3
    assert "pip install 'dynamic-mcp-reference[conformance]'" in done.stderr
