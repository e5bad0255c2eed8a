import ast
import json
import multiprocessing
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mock_servers import browser, remote
from mock_servers.journal import MAX_SENT, Entry, Journal, read_journal
from mock_servers.remote import oauth

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


def _write_many(path: Path, name: str) -> None:
    journal = Journal(path)
    for number in range(200):
        journal.write("line", text=name * 300, number=number)


def test_missing_journal_is_empty(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none") == []


def test_entry_is_read_back_as_written(tmp_path: Path) -> None:
    Journal(tmp_path / "j").write("action", do="sleep", request="é\ud800")
    (entry,) = read_journal(tmp_path / "j")
    assert entry == Entry(entry.t, os.getpid(), "action", {"do": "sleep", "request": "é\ud800"})


def test_half_written_last_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path).write("eof")
    with path.open("ab") as file:
        file.write(b'{"t": 1, "pi')
    assert [entry.event for entry in read_journal(path)] == ["eof"]


def test_concurrent_entries_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "j"
    spawn = multiprocessing.get_context("spawn")
    workers: list[BaseProcess | threading.Thread] = [
        *(spawn.Process(target=_write_many, args=(path, name)) for name in "ab"),
        *(threading.Thread(target=_write_many, args=(path, name)) for name in "cd"),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    entries = read_journal(path)
    assert len(entries) == 800
    for name in "abcd":
        mine = [entry.data["number"] for entry in entries if entry.text == name * 300]
        assert mine == list(range(200))


def test_line_outside_utf8_is_kept_as_base64(tmp_path: Path) -> None:
    Journal(tmp_path / "j").write_line(b"\xff\x00")
    assert read_journal(tmp_path / "j")[0].data == {"base64": "/wA="}


def test_long_output_is_cut_and_its_size_kept(tmp_path: Path) -> None:
    Journal(tmp_path / "j").write_sent(b"x" * (MAX_SENT + 10))
    (entry,) = read_journal(tmp_path / "j")
    assert (len(entry.text), entry.data["bytes"]) == (MAX_SENT, MAX_SENT + 10)


def test_message_is_the_decoded_text(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for text in ('{"id":1}', "[1]", "hello"):
        journal.write_line(text.encode())
    assert [entry.message for entry in read_journal(tmp_path / "j")] == [{"id": 1}, None, None]


def test_entry_is_one_line_of_json(tmp_path: Path) -> None:
    Journal(tmp_path / "j").write_line(b"a\rb")
    assert json.loads((tmp_path / "j").read_text())["text"] == "a\rb"


def test_docstrings_list_every_event() -> None:
    texts = [Entry.__doc__, remote.__doc__, oauth.__doc__, browser.__doc__]
    listed = set(re.findall(r"`([a-z-]+)`", " ".join(text or "" for text in texts)))
    written = {
        call.args[0].value
        for path in Path(remote.__file__).parents[1].rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("write", "write_received")
        and "journal" in ast.unparse(call.func.value)
        and isinstance(call.args[0], ast.Constant)
    }
    assert {"handed-over", "http-body", "opened"} <= written
    assert written - listed == set()
