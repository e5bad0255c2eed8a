"""A changed file is applied, or its problem is reported once. Only the content counts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.workbench import save_styles
from dynamic_mcp.config import watch
from dynamic_mcp.config.diff import Diff, diff
from dynamic_mcp.config.load import load
from dynamic_mcp.config.model import Config, StdioTransport
from dynamic_mcp.extras.plugin import Extras
from dynamic_mcp.groups import reload
from dynamic_mcp.groups.reload import Reload
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.secret import Secret
from tests.dynamic_mcp.fakes import server
from tests.dynamic_mcp.helpers import eventually


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(watch, "FAST_POLL_INTERVAL", 0.005)
    monkeypatch.setattr(watch, "QUIET", 0.01)
    monkeypatch.setattr(reload, "REPORT_DELAY", 0.15)


@dataclass
class FakeSupervisor:
    """A supervisor that only records the changes."""

    changes: list[Diff] = field(default_factory=list)

    def apply(self, config: Config, changes: Diff) -> None:
        self.changes.append(changes)


@dataclass
class Following:
    path: Path
    applied: FakeSupervisor
    reload: Reload

    def save(self, **entries: object) -> None:
        self.path.write_text(json.dumps({"mcpServers": entries}))


ENTRY: dict[str, object] = {"description": "d", "command": "c"}


@asynccontextmanager
async def following(folder: Path, hooks: Hooks | None = None) -> AsyncIterator[Following]:
    """A ``Reload`` that follows a file with the server ``a``."""
    path, applied = folder / "config.json", FakeSupervisor()
    path.write_text(json.dumps({"mcpServers": {"a": ENTRY}}))
    follower = Reload(path, load(path, {}), cast(Supervisor, applied), hooks or Hooks())
    task = asyncio.get_running_loop().create_task(follower.run())
    try:
        yield Following(path, applied, follower)
        assert not task.done(), task.exception()
    finally:
        task.cancel()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_save_is_applied_and_logged_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "dynamic_mcp"):
        async with following(tmp_path) as followed:
            followed.save(b=ENTRY, a={**ENTRY, "args": ["x"]})
            await eventually(lambda: followed.applied.changes, "the save is applied")
    (changes,) = followed.applied.changes
    assert [server.name for server in changes.added] == ["b"]
    assert [server.name for server in changes.changed] == ["a"]
    expected = "configuration reloaded: added b; removed none; changed a; unchanged none"
    assert [record.getMessage() for record in caplog.records] == [expected]


async def test_only_the_content_of_the_file_counts(tmp_path: Path) -> None:
    async with following(tmp_path) as followed:
        text = followed.path.read_text()
        for change in (
            lambda: followed.path.touch(),
            lambda: followed.path.chmod(0o600),
            lambda: followed.path.write_text(text.replace(" ", "\n\t ")),
            lambda: save_styles.by_rename(followed.path, text.encode()),
            lambda: followed.save(a={**ENTRY, "args": [], "enabled": True, "timeout": {"tools": "30s"}}),
            lambda: followed.save(a=ENTRY, off={**ENTRY, "enabled": False}),
        ):
            change()
            await asyncio.sleep(0.1)
        assert followed.applied.changes == []
        followed.save(a=ENTRY, b=ENTRY)
        await eventually(lambda: followed.applied.changes, "a real change is applied")


@pytest.mark.parametrize(
    ("content", "location"),
    [
        ("{bad", "line 1"),
        ("", "is empty"),
        ('{"mcpServers": {"a": {"description": "d"}}}', "mcpServers.a"),
        (None, "cannot be read"),
    ],
    ids=["no JSON", "empty", "no configuration", "no file"],
)
async def test_invalid_file_is_reported_once_and_changes_nothing(
    content: str | None, location: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(tmp_path) as followed:
        if content is None:
            followed.path.unlink()
        else:
            followed.path.write_text(content)
        await eventually(lambda: errors(caplog), "a diagnostic")
        if content is not None:
            followed.path.touch()
        followed.reload.force()
        await asyncio.sleep(0.4)
        (reported,) = errors(caplog)
        assert str(followed.path) in reported
        assert location in reported
        assert followed.applied.changes == []

        followed.save(a=ENTRY, b=ENTRY)
        await eventually(lambda: followed.applied.changes, "the next valid save is applied")
        followed.path.write_text("[")
        await eventually(lambda: len(errors(caplog)) == 2, "a new problem is reported")


async def test_slow_write_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file is invalid for longer than the delay, and each pause of the writer is much shorter: a busy machine changes neither.
    monkeypatch.setattr(reload, "REPORT_DELAY", 0.6)
    complete = json.dumps({"mcpServers": {"a": ENTRY, "b": ENTRY}}).encode()
    async with following(tmp_path) as followed:
        await save_styles.in_pieces(followed.path, complete, 20, pause=0.04)
        await eventually(lambda: followed.applied.changes, "the complete file is applied")
        assert len(followed.applied.changes) == 1
    assert errors(caplog) == []


async def test_force_reloads_an_unchanged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dynamic_mcp"):
        async with following(tmp_path) as followed:
            followed.reload.force()
            await eventually(lambda: followed.applied.changes, "a forced reload")
    assert "unchanged a" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes in folders")
async def test_pipe_in_place_of_the_file_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "REPORT_DELAY", 0.2)
    async with following(tmp_path) as followed:
        followed.path.unlink()
        os.mkfifo(followed.path)
        # A read that waits would stop the event loop, and with it this wait.
        await eventually(lambda: errors(caplog), "the pipe is reported")
        assert followed.applied.changes == []
    assert "it is a pipe" in errors(caplog)[0]


async def test_undefined_variable_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with following(tmp_path) as followed:
        for description in ("one", "two"):
            followed.save(a={**ENTRY, "description": description, "args": ["${NOT_DEFINED_HERE}"]})
            await eventually(lambda: followed.applied.changes, "the save is applied")
            followed.applied.changes.clear()
    assert caplog.text.count("NOT_DEFINED_HERE is not set") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="modes say nothing there")
async def test_credential_warning_comes_with_each_reload_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = {**ENTRY, "env": {"TOKEN": "canary-literal"}}

    def reported() -> int:
        return caplog.text.count("mcpServers.a.env.TOKEN")

    async with following(tmp_path, Extras(Config(()), Guard())) as followed:
        followed.path.chmod(0o644)
        followed.save(a=entry)
        await eventually(lambda: reported() == 1, "the warning at a reload")
        followed.path.touch()
        await asyncio.sleep(0.2)
        assert reported() == 1, "nothing was reloaded"
        followed.save(a=entry, b=ENTRY)
        await eventually(lambda: reported() == 2, "the warning at the next reload")
        followed.path.chmod(0o600)
        followed.save(a=entry)
        await eventually(lambda: len(followed.applied.changes) == 3, "a reload of a file that is closed")
        assert reported() == 2
        followed.path.chmod(0o640)
        await eventually(lambda: reported() == 3, "the warning after the file was opened")
    assert "canary-literal" not in caplog.text


names = st.lists(st.sampled_from("abcdef"), unique=True).map(tuple)
configurations = st.builds(
    lambda servers, kinds: Config(
        tuple(server(name, kind) for name, kind in zip(servers, kinds, strict=False))
    ),
    names,
    st.lists(st.sampled_from(["one", "other"]), min_size=6, max_size=6),
)


@given(configurations, configurations)
def test_diff_contains_every_server_once(old: Config, new: Config) -> None:
    found = diff(old, new)
    assert {*found.added, *found.changed, *found.unchanged} == set(new.servers)
    assert len(found.added) + len(found.changed) + len(found.unchanged) == len(new.servers)
    assert {one.name for one in found.removed} == {one.name for one in old.servers} - {
        one.name for one in new.servers
    }
    assert set(found.unchanged) == set(old.servers) & set(new.servers)


def test_secrets_are_compared_by_value() -> None:
    def with_key(value: str) -> Config:
        transport = StdioTransport("c", (), (("KEY", Secret(value)),))
        return Config((type(server("a"))("a", "d", transport, server("a").features, server("a").timeouts),))

    assert diff(with_key("one"), with_key("one")).changed == ()
    assert len(diff(with_key("one"), with_key("two")).changed) == 1
    assert "two" not in str(diff(with_key("one"), with_key("two")))


def events_of(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


async def test_reload_is_recorded_in_the_old_and_the_new_audit_log(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"

    def text(log: Path) -> str:
        return json.dumps({"mcpServers": {"a": ENTRY}, "security": {"audit": {"file": str(log)}}})

    async with following(tmp_path, Extras(Config(()), Guard())) as followed:
        followed.path.write_text(text(one))
        await eventually(one.exists, "the first log")
        followed.path.write_text(text(other))
        await eventually(other.exists, "the second log")
    assert (events_of(one), events_of(other)) == (["reload", "reload"], ["reload"])
