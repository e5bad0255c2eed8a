"""What the implementation gets to see tells neither the check nor the script, and the mock works in spite of a hostile start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from conformance.model.sut import make_sut
from conformance.workbench.launcher import command, write_launcher
from conformance.workbench.workbench import open_workbench
from mock_servers.journal import read_journal
from mock_servers.lifecycle import MAX_LIFE
from mock_servers.script import Script, crash, on_call

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.outcome import ProgramStart

#: words that a name could betray
_TELLING = ("script.", "--script", "journal", "mock_servers", "conformance-", "std-001", "crash")


async def test_neither_names_nor_arguments_tell_the_check() -> None:
    starts: list[ProgramStart] = []

    async def remember(start: ProgramStart) -> None:
        starts.append(start)

    async with open_workbench(make_sut(), "STD-001", keep=False, on_start=remember) as workbench:
        crashes, other = workbench.stdio("a", Script(on=[on_call("echo", crash())])), workbench.stdio("b")
        config = workbench.config(crashes, other)
        async with workbench.serving(crashes, other, config=config):
            (start,) = starts
            own = start.command[-1]
            seen = [
                config.read_text(),
                own,
                str(start.cwd),
                start.environment["HOME"],
                start.environment["TMPDIR"],
            ]
            alive, starts_of_the_mock = crashes.alive, [one.pid for one in crashes.starts]
    texts = [text.replace(sys.executable, "python").lower() for text in seen]
    assert own == str(config)
    assert [(word, text) for word in _TELLING for text in texts if word in text] == []
    assert alive == starts_of_the_mock
    programs = [upstream.entry["args"][2:] for upstream in (crashes, other)]
    assert [len(words) for words in programs] == [1, 1]
    assert len({os.path.dirname(words[0]) for words in programs}) == 1


def test_the_program_works_without_an_environment_in_any_folder_and_writes_its_journal(
    tmp_path: Path,
) -> None:
    mock, programs, elsewhere = tmp_path / "mock", tmp_path / "programs", tmp_path / "elsewhere"
    for folder in (mock, programs, elsewhere):
        folder.mkdir()
    (elsewhere / "mock_servers.py").write_text("raise SystemExit('the wrong module')")
    Script(name="x").save(mock / "script.json")
    program = write_launcher(programs, mock, max_life=MAX_LIFE)
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode() + b"\n"
    words = ["a b", "--", "--journal"]
    done = subprocess.run(
        command(program, words), input=line, env={}, cwd=elsewhere, capture_output=True, timeout=20
    )
    assert json.loads(done.stdout)["id"] == 1
    entries = read_journal(mock / "journal.jsonl")
    assert [entry.data["args"] for entry in entries if entry.event == "start"] == [words]
