"""The audit log: the outcomes, the omitted data, and that no failure of the file affects a call."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dynamic_mcp.config.model import Audit, CallRules, Config, RateLimit
from dynamic_mcp.errors import UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.extras.audit import MAX_ARGUMENTS, MAX_FIELD, AuditLog
from dynamic_mcp.extras.plugin import Extras
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.groups.connection_record import ConnectionRecord
from dynamic_mcp.process.guard import Guard
from tests.dynamic_mcp.fakes import Client
from tests.dynamic_mcp.helpers import eventually


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def audit_log(file: Path) -> AuditLog:
    """An audit log in the file."""
    return AuditLog(Audit(file))


def test_relative_file_keeps_its_place_after_its_folder_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(folder)
    log = AuditLog(Audit(Path("audit.jsonl")))
    for number in (1, 2):
        log.record("event", number=number)
        assert [line["number"] for line in lines(folder / "audit.jsonl")] == [number]
        shutil.rmtree(folder)
        folder.mkdir()


def recorded_client(file: Path, arguments: Any = "none") -> Client:
    """A client of a proxy with an audit log in the file."""
    return Client(hooks=Extras(Config((), audit=Audit(file, arguments)), Guard()))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def outcome_of(
    client: Client, file: Path, name: str = "echo", group: str = "files", **args: Any
) -> str:
    """Make a call; the outcome in its only line."""
    before = len(lines(file))
    await client.tool(CALL, {"group": group, "name": name, **args})
    (line,) = lines(file)[before:]
    assert (line["event"], line["server"], line["tool"]) == ("call", group, name)
    assert line["duration_ms"] >= 0
    return str(line["outcome"])


# Calls


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b'{"content":[]}', "ok"),
        (b'{"content":[],"isError":true}', "error"),
        (b'{"content":[],"isError":5}', "ok"),
        (b'{"resultType":"input_required","inputRequests":{}}', "input_required"),
        (UpstreamRefused(b'{"code":-32000,"message":"no"}'), "error"),
        (UpstreamRefused(b'{"code":-32602,"message":"no"}'), "error"),
        (UpstreamTimeout("no answer"), "timeout"),
        (UpstreamGone("it crashed"), "failed"),
        (RuntimeError("a mistake"), "failed"),
    ],
)
async def test_call_is_recorded_with_its_outcome(file: Path, answer: bytes | Exception, outcome: str) -> None:
    client = recorded_client(file)
    client.upstream.answer = answer

    client.send({"id": 1, "method": "tools/call", "params": _calling("files", "echo")})
    await client.answers(1)

    # The questions of a modern upstream lead to several calls.
    assert {line["outcome"] for line in lines(file)} == {outcome}


def _calling(group: str, name: str) -> dict[str, Any]:
    return {"name": CALL, "arguments": {"group": group, "name": name}}


async def test_refused_requests_are_recorded(file: Path) -> None:
    client = recorded_client(file)
    group = client.groups[0]
    policy = CallRules(rate_limit=RateLimit(1, 60.0))
    group.define(msgspec.structs.replace(group.server, policy=policy))

    assert await outcome_of(client, file, group="nowhere") == "refused"
    assert await outcome_of(client, file, group="off") == "refused"
    assert await outcome_of(client, file, group="broken") == "failed"
    assert await outcome_of(client, file, name="ecko") == "refused"
    assert await outcome_of(client, file, args=[1]) == "refused"
    assert await outcome_of(client, file) == "ok"
    assert await outcome_of(client, file) == "refused"
    await client.ask("nonsense/method", {"secret": "canary"})
    assert lines(file)[-1]["event"] == "refused"
    assert lines(file)[-1]["method"] == "nonsense/method"
    assert "canary" not in json.dumps(lines(file))


async def test_cancelled_call_is_recorded(file: Path) -> None:
    client = recorded_client(file)
    client.upstream.answer = None
    client.send({"id": 1, "method": "tools/call", "params": _calling("files", "echo")})
    await eventually(lambda: client.upstream.requests, "the call")
    client.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
    await eventually(lambda: lines(file), "a line")

    assert [line["outcome"] for line in lines(file)] == ["cancelled"]


ARGS = b'{"x": 12345678901234567890123,\n"y":1E+2}'


@pytest.mark.parametrize(
    ("setting", "fields"),
    [
        ("none", {}),
        ("digest", {"arguments_sha256": hashlib.sha256(ARGS).hexdigest()}),
        ("value", {"arguments": {"x": 12345678901234567890123, "y": 100.0}}),
    ],
)
async def test_arguments_are_recorded_as_configured(file: Path, setting: Any, fields: dict[str, Any]) -> None:
    client = recorded_client(file, setting)
    arguments = b'{"group":"files","name":"echo","args":%b}' % ARGS
    params = b'{"name":"%b","arguments":%b}' % (CALL.encode(), arguments)
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%b}' % params)
    await client.answers(1)

    (line,) = lines(file)
    assert {name: value for name, value in line.items() if name.startswith("arguments")} == fields


# Resources and prompts

URI = "mock://notes/canary"


async def read(client: Client, method: str, **params: object) -> None:
    client.upstream.answer = b'{"contents":[],"messages":[]}'
    await client.ask(method, {"group": "files", **params})


@pytest.mark.parametrize(
    ("setting", "resource", "prompt"),
    [
        ("none", {}, {}),
        (
            "digest",
            {"uri_sha256": hashlib.sha256(URI.encode()).hexdigest()},
            {"arguments_sha256": hashlib.sha256(b'{"of": "canary"}').hexdigest()},
        ),
        ("value", {"uri": URI}, {"arguments": {"of": "canary"}}),
    ],
)
async def test_reads_are_recorded_as_configured(
    file: Path, setting: Any, resource: dict[str, Any], prompt: dict[str, Any]
) -> None:
    client = recorded_client(file, setting)

    await read(client, "resources/read", uri=URI)
    await read(client, "prompts/get", name="summary", arguments={"of": "canary"})

    common = {"server": "files", "outcome": "ok", "pid": os.getpid()}
    recorded = [
        {name: value for name, value in line.items() if name not in ("time", "duration_ms")}
        for line in lines(file)
    ]
    assert recorded == [
        {"event": "resource_read", **common, **resource},
        {"event": "prompt_get", **common, "prompt": "summary", **prompt},
    ]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (UpstreamRefused(b'{"code":-32002,"message":"no"}'), "error"),
        (UpstreamTimeout("no answer"), "timeout"),
        (UpstreamGone("it crashed"), "failed"),
    ],
)
async def test_failed_reads_are_recorded(file: Path, answer: Exception, outcome: str) -> None:
    client = recorded_client(file)
    client.upstream.answer = answer

    await client.ask("resources/read", {"group": "files", "uri": URI})
    await client.ask("resources/read", {"group": "nowhere", "uri": URI})

    recorded = [(line["event"], line["server"], line["outcome"]) for line in lines(file)]
    assert recorded == [("resource_read", "files", outcome), ("refused", None, "refused")]


def test_large_arguments_are_hashed(audit_log: AuditLog, file: Path) -> None:
    audit_log.configure(Audit(file, "value"))

    assert set(audit_log.arguments(b'"%b"' % (b"x" * MAX_ARGUMENTS))) == {"arguments_sha256"}


# Upstreams


def test_each_connection_has_a_start_and_an_end(audit_log: AuditLog, file: Path) -> None:
    for steps in (["ready"], ["ready", "failed"], ["failed"], []):
        connection = ConnectionRecord(audit_log.record, "a")
        for step in steps:
            getattr(connection, step)(*(["because"] if step == "failed" else []))
        connection.closed()

    recorded = [(line["event"], line["outcome"]) for line in lines(file)]
    assert recorded == [
        ("upstream_started", "ok"),
        ("upstream_stopped", "ok"),
        ("upstream_started", "ok"),
        ("upstream_stopped", "failed"),
        ("upstream_failed", "failed"),
        ("upstream_failed", "cancelled"),
    ]


# The file


def test_nothing_is_written_without_a_file(file: Path) -> None:
    AuditLog(None).record("start")

    assert not file.exists()


def test_line_has_all_fields_and_bounded_texts(audit_log: AuditLog, file: Path) -> None:
    audit_log.record("start", reason="x" * (MAX_FIELD + 1), nothing=None)

    (line,) = lines(file)
    assert list(line) == ["time", "event", "server", "outcome", "duration_ms", "pid", "reason", "cut"]
    assert len(line["reason"]) == MAX_FIELD
    assert line["pid"] == os.getpid()


@pytest.mark.parametrize("move", ["rename", "unlink"])
def test_moved_file_is_replaced_by_a_new_one(audit_log: AuditLog, file: Path, move: str) -> None:
    audit_log.record("one")
    if move == "rename":
        file.rename(file.with_suffix(".1"))
    else:
        file.unlink()
    audit_log.record("two")

    assert [line["event"] for line in lines(file)] == ["two"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_file_is_private_for_any_umask(audit_log: AuditLog, file: Path) -> None:
    file.touch(0o666)
    file.chmod(0o666)
    audit_log.record("one")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    file.unlink()
    before = os.umask(0o277)
    try:
        audit_log.record("two")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_changed_settings_use_the_new_file(audit_log: AuditLog, file: Path) -> None:
    audit_log.record("one")
    other = file.with_name("other.jsonl")
    audit_log.configure(Audit(other))
    audit_log.record("two")

    assert [line["event"] for line in lines(file)] == ["one"]
    assert [line["event"] for line in lines(other)] == ["two"]


async def test_full_disk_is_reported_once_and_fails_no_call(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = os.write, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_elsewhere(descriptor: int, data: bytes) -> int:
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            raise full
        return write(descriptor, data)

    client = recorded_client(file)
    monkeypatch.setattr(os, "write", write_elsewhere)

    for _ in range(3):
        assert "result" in await client.echo()

    assert caplog.messages == [
        f"the audit log {file} cannot be written, lines are lost: No space left on device"
    ]


def test_line_after_a_gap_has_the_number_of_lost_lines(
    audit_log: AuditLog, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = file.with_name("folder")
    audit_log.configure(Audit(folder / "audit.jsonl"))
    for _ in range(2):
        audit_log.record("lost")
    folder.mkdir()
    audit_log.record("one")
    audit_log.record("two")

    found = [(line["event"], line.get("lines_lost")) for line in lines(folder / "audit.jsonl")]
    assert found == [("one", 2), ("two", None)]
    assert len(caplog.messages) == 1


def test_incomplete_line_does_not_damage_the_next(
    audit_log: AuditLog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit_log.record("one")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        audit_log.record("two")
    audit_log.record("three")

    first, torn, third = file.read_text().splitlines()
    assert json.loads(first)["event"] == "one"
    assert len(torn) == 10
    assert (json.loads(third)["event"], json.loads(third)["lines_lost"]) == ("three", 1)


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


def make_link(file: Path) -> None:
    target = file.with_name("target")
    target.write_text("mine\n")
    file.symlink_to(target)


def make_foreign_file(file: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    file.touch()
    os.chown(file, 12345, -1)
    file.chmod(0o666)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these files nor these owners")
@pytest.mark.parametrize(
    ("make", "word"),
    [
        (make_pipe, "pipe"),
        (make_link, "symbolic link"),
        (make_foreign_file, "belongs to another user (uid 12345)"),
        (Path.mkdir, "Is a directory"),
    ],
)
def test_file_that_is_not_ours_gets_no_line(
    audit_log: AuditLog,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
    word: str,
) -> None:
    make(file)
    audit_log.record("one")
    audit_log.record("two")

    (message,) = caplog.messages
    assert word in message
    if file.is_file():
        assert file.read_text() in ("", "mine\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in the file system")
def test_reader_of_a_pipe_gets_no_line(
    audit_log: AuditLog, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(file)
    reader = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        audit_log.record("one")
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)
    assert "it is a pipe" in caplog.text


def test_several_processes_share_one_file(file: Path) -> None:
    logs = [AuditLog(Audit(file)) for _ in range(2)]
    for n in range(100):
        logs[n % 2].record("line", number=n)
    for one in logs:
        one.configure(None)

    assert [line["number"] for line in lines(file)] == list(range(100))


# Texts of others


async def test_made_up_names_are_cut_and_the_line_says_so(file: Path) -> None:
    client = recorded_client(file)

    await client.tool(CALL, {"group": "g" * 20_000_000, "name": "n" * 501})

    (line,) = lines(file)
    assert (line["server"], line["tool"]) == ("g" * MAX_FIELD, "n" * MAX_FIELD)
    assert sorted(line["cut"]) == ["server", "tool"]


async def test_uri_is_cut_and_the_line_says_so(file: Path) -> None:
    log = AuditLog(Audit(file, "value"))

    log.record("resource_read", **_fields(log.uri("x:" + "y" * 1000)))

    assert lines(file)[0]["cut"] == ["uri"]


def test_short_texts_are_not_marked(audit_log: AuditLog, file: Path) -> None:
    audit_log.record("call", server="g" * MAX_FIELD, tool="Größe 日本語")

    assert "cut" not in lines(file)[0]
    assert "Größe 日本語" in file.read_text()


@pytest.mark.parametrize("evil", ["a\nb\x1b[2J", "\x7f\x9b31m\x85", "\u2028\u202e\u200b\ufeff", "\U000e0041"])
def test_control_characters_are_escaped_and_keep_their_value(
    audit_log: AuditLog, file: Path, evil: str
) -> None:
    audit_log.record("call", server=evil, tool=evil)

    text = file.read_text()
    assert all(letter.isprintable() for letter in text.removesuffix("\n"))
    assert json.loads(text)["server"] == json.loads(text)["tool"] == evil


def test_half_of_a_surrogate_pair_loses_no_line(audit_log: AuditLog, file: Path) -> None:
    audit_log.record("start", config="/tmp/\udcff.json")

    assert lines(file)[0]["config"] == "/tmp/\\udcff.json"


def test_arguments_that_are_not_utf8_lose_no_line(file: Path) -> None:
    log = AuditLog(Audit(file, "value"))

    log.record("call", **_fields(log.arguments(b'{"a":"\xff\x1b"}')))

    assert lines(file)[0]["arguments"] == {"a": "\N{REPLACEMENT CHARACTER}\x1b"}


def _fields(found: dict[str, object]) -> dict[str, Any]:
    return found
