"""The stdio mock as a process: its journal, its input and its output."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mock_servers.journal import read_journal
from mock_servers.script import Script, on_call, silence

from .driver import COMMAND, WITHIN, running


def test_start_entry_has_everything_a_child_inherits(tmp_path: Path) -> None:
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


def test_journal_keeps_lines_and_answers_in_order(tmp_path: Path) -> None:
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


def test_journal_uses_the_clock_of_other_processes(tmp_path: Path) -> None:
    before = time.monotonic()
    with running(tmp_path) as mock:
        assert before < mock.event("start").t < time.monotonic()


def test_all_answers_arrive_before_the_exit(tmp_path: Path) -> None:
    lines = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"tools/list"}\n' % n for n in range(50))
    script = Script(on=[on_call(None, silence())])
    with running(tmp_path, script) as mock:
        mock.write(lines + b'{"jsonrpc":"2.0","id":"s","method":"tools/call"}\n')
        mock.close_stdin()
        assert [mock.next()["id"] for _ in range(50)] == list(range(50))
        assert mock.line() == b""
        assert mock.exit_code() == 0


def test_closed_output_does_not_end_it(tmp_path: Path) -> None:
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
