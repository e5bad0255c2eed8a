import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mock_servers.commands import MAIN
from mock_servers.journal import read_journal
from mock_servers.script import Grandchild, Script, on_call, silence

from .driver import COMMAND, WITHIN, eventually, is_alive, running


def test_the_start_is_journalled_with_all_that_a_child_inherits(tmp_path: Path) -> None:
    words = ["a b", "$(x)", "--", "--era", "é"]
    environment = {"ONE": "1", "TWO": "\udcff"}
    with running(tmp_path, None, "--", *words, env=environment, cwd=tmp_path) as mock:
        start = mock.event("start")
        assert start.pid == mock.process.pid
        assert start.data["ppid"] == os.getpid()
        assert (start.data["pgid"], start.data["sid"]) == (os.getpgid(mock.process.pid), os.getsid(0))
        assert start.data["args"] == words
        assert start.data["argv"][-len(words) :] == words
        assert {**environment, **start.data["env"]} == start.data["env"]
        assert start.data["cwd"] == str(tmp_path)
        if sys.platform == "linux":
            assert sorted(start.data["fds"]) == ["0", "1", "2"]


def test_the_journal_keeps_lines_and_answers_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        mock.write(b' {"jsonrpc": "2.0", "id":1, "method":"ping"}\r\n')
        mock.line()
        mock.close_stdin()
        assert mock.exit_code() == 0
    entries = mock.events()
    assert [entry.event for entry in entries] == ["start", "line", "sent", "eof", "exit"]
    assert entries[1].text == ' {"jsonrpc": "2.0", "id":1, "method":"ping"}\r'
    assert entries[2].text == '{"jsonrpc":"2.0","id":1,"result":{}}'
    assert [entry.t for entry in entries] == sorted(entry.t for entry in entries)


def test_the_clock_of_the_journal_is_the_one_of_other_processes(tmp_path: Path) -> None:
    before = time.monotonic()
    with running(tmp_path) as mock:
        assert before < mock.event("start").t < time.monotonic()


@pytest.mark.parametrize("isolated", [True, False])
def test_it_runs_by_path_and_as_a_module(tmp_path: Path, isolated: bool) -> None:
    root = str(MAIN.parent.parent)
    command = COMMAND if isolated else [sys.executable, "-m", "mock_servers", "stdio"]
    with running(tmp_path, command=command, cwd="/" if isolated else root) as mock:
        assert mock.ask("ping")["result"] == {}


def test_by_path_without_isolation_the_package_hides_no_module(tmp_path: Path) -> None:
    with running(tmp_path, command=[sys.executable, str(MAIN), "stdio"], cwd=tmp_path) as mock:
        assert mock.ask("ping")["result"] == {}


def test_answers_are_complete_when_the_input_ends_at_once(tmp_path: Path) -> None:
    lines = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}\n' % n for n in range(50))
    script = Script(on=[on_call(None, silence())])
    with running(tmp_path, script) as mock:
        mock.write(lines + b'{"jsonrpc":"2.0","id":"s","method":"tools/call"}\n')
        mock.close_stdin()
        assert [mock.next()["id"] for _ in range(50)] == list(range(50))
        assert mock.line() == b""
        assert mock.exit_code() == 0


def test_it_stays_after_the_end_of_the_input_on_demand(tmp_path: Path) -> None:
    with running(tmp_path, Script(ignore_eof=True)) as mock:
        mock.close_stdin()
        mock.event("eof")
        with pytest.raises(subprocess.TimeoutExpired):
            mock.process.wait(0.3)


def test_it_survives_a_client_that_no_longer_reads(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    journal = tmp_path / "journal.jsonl"
    with subprocess.Popen(
        [*COMMAND, "--journal", str(journal)], stdin=subprocess.PIPE, stdout=theirs
    ) as mock:
        os.close(theirs)
        os.close(ours)
        mock.communicate(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n' * 3, timeout=WITHIN)
        assert mock.returncode == 0
    events = [entry.data.get("do", entry.event) for entry in read_journal(journal)]
    assert events.count("line") == 3
    assert events.count("broken-pipe") == 1


def test_it_lingers_after_the_end_of_the_input_as_long_as_told(tmp_path: Path) -> None:
    with running(tmp_path, Script(ignore_eof=True, linger=0.3)) as mock:
        mock.close_stdin()
        assert mock.exit_code() == 0
        assert mock.event("exit").t - mock.event("eof").t >= 0.3


def test_sigterm_is_journalled_and_ends_it(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        mock.ask("ping")
        mock.process.terminate()
        assert mock.exit_code() == 143
        assert mock.event("signal").data == {"number": signal.SIGTERM}
        assert mock.event("exit").data == {"code": 143, "reason": "signal"}


def test_sigterm_is_journalled_and_ignored_on_demand(tmp_path: Path) -> None:
    with running(tmp_path, Script(ignore_sigterm=True)) as mock:
        mock.ask("ping")
        mock.process.terminate()
        mock.event("signal")
        assert mock.ask("ping")["result"] == {}


def test_work_upon_sigterm_is_finished_even_if_the_input_ends(tmp_path: Path) -> None:
    with running(tmp_path, Script(sigterm_delay=0.3)) as mock:
        mock.ask("ping")
        mock.process.terminate()
        mock.event("signal")
        mock.process.terminate()
        mock.close_stdin()
        assert mock.exit_code() == 143
        assert mock.event("marker").t - mock.event("signal").t >= 0.3


def test_its_life_is_bounded(tmp_path: Path) -> None:
    script = Script(ignore_sigterm=True, ignore_eof=True, grandchildren=[Grandchild(ignore_sigterm=True)])
    with running(tmp_path, script, "--max-life", "0.5") as mock:
        assert mock.exit_code() == 124
        assert mock.event("exit").data["reason"] == "max-life"
        assert mock.event("grandchild-exit").data["reason"] == "max-life"


def test_a_grandchild_outlives_the_mock_in_its_process_group(tmp_path: Path) -> None:
    with running(tmp_path, Script(grandchildren=[Grandchild()]), start_new_session=True) as mock:
        mock.ask("ping")
        (child,) = mock.events("grandchild-start")
        assert child.data["ppid"] == mock.process.pid
        assert child.data["pgid"] == mock.process.pid
        mock.close_stdin()
        assert mock.exit_code() == 0
        assert mock.line() == b""
        assert is_alive(child.pid)
        os.killpg(mock.process.pid, signal.SIGTERM)
        eventually(lambda: not is_alive(child.pid), "the end of the grandchild")
        assert mock.event("grandchild-signal").pid == child.pid
        assert mock.event("grandchild-exit").data["code"] == 143


def test_a_grandchild_may_end_with_the_mock(tmp_path: Path) -> None:
    children = [Grandchild(ignore_eof=False, ignore_sigterm=True), Grandchild(ignore_eof=False)]
    with running(tmp_path, Script(grandchildren=children)) as mock:
        mock.ask("ping")
        mock.process.kill()
        mock.exit_code()
        eventually(lambda: len(mock.events("grandchild-exit")) == 2, "the end of both grandchildren")


def test_a_grandchild_may_ignore_sigterm_and_lead_its_own_session(tmp_path: Path) -> None:
    script = Script(grandchildren=[Grandchild(ignore_sigterm=True, new_session=True)])
    with running(tmp_path, script) as mock:
        mock.ask("ping")
        child = mock.event("grandchild-start")
        assert child.data["pgid"] == child.data["sid"] == child.pid
        os.kill(child.pid, signal.SIGTERM)
        mock.event("grandchild-signal")
        assert is_alive(child.pid)


def test_a_grandchild_may_hold_the_output_open(tmp_path: Path) -> None:
    with running(tmp_path, Script(grandchildren=[Grandchild(holds_stdout=True)])) as mock:
        mock.ask("ping")
        child = mock.event("grandchild-start")
        mock.close_stdin()
        assert mock.exit_code() == 0
        assert mock.reader.is_alive()
        os.kill(child.pid, signal.SIGKILL)
        assert mock.line() == b""


def test_options_of_the_command_line_misbehave_without_a_script(tmp_path: Path) -> None:
    options = ("--name", "n", "--page-size", "1", "--silent", "ping", "--delay", "0.1", "--era", "both")
    with running(tmp_path, None, *options) as mock:
        assert mock.ask("initialize", {})["result"]["serverInfo"]["name"] == "n"
        assert "nextCursor" in mock.ask("tools/list")["result"]
        mock.start("ping")
        assert "result" in mock.call()
        assert "silence" in {entry.data["do"] for entry in mock.events("action")}
        assert "result" in mock.ask_modern("server/discover")


def test_crash_on_start_exits_before_anything_is_read(tmp_path: Path) -> None:
    with running(tmp_path, None, "--crash-on-start", "7") as mock:
        assert mock.exit_code() == 7


@pytest.mark.parametrize("arguments", [["--help"], ["stdio", "--help"]])
def test_every_level_has_help(arguments: list[str]) -> None:
    done = subprocess.run([*COMMAND[:-1], *arguments], capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0
    assert "stdio" in done.stdout


def test_a_wrong_script_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"tolls": []}')
    done = subprocess.run([*COMMAND, "--script", str(path)], capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 2
    assert "unknown field tolls" in done.stderr
