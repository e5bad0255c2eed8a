"""With events, the proxy notices every change of the file, or of a folder or link on its way, at once. Nothing else costs a look."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from inotify_simple import INotify, flags

from dynamic_mcp.config import file_events, watch
from dynamic_mcp.config.path_places import places_of
from dynamic_mcp.config.watch import Watch
from tests.dynamic_mcp.config.test_watch import SAVE_STYLES, Save, content_of
from tests.dynamic_mcp.helpers import eventually


@pytest.fixture(autouse=True)
def only_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look finds a change without an event, once there are events."""
    monkeypatch.setattr(watch, "SLOW_LOOK", 3600.0)
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(watch, "FAST_POLL_INTERVAL", 0.005)
    monkeypatch.setattr(watch, "QUIET", 0.02)
    monkeypatch.setattr(watch, "SECOND_LOOK", 0.05)


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Callable[[], bytes | None]]:
    """A function for the content at the last change; the file has events."""
    read: list[bytes | None] = []

    async def follow() -> None:
        with closing(Watch(path)) as followed:
            while True:
                await followed.changed()
                read.append(content_of(path) if path.parent.is_dir() else None)

    task = asyncio.get_running_loop().create_task(follow())
    try:
        # The second reading begins the events.
        await eventually(lambda: len(read) >= 2, "the second look")
        await asyncio.sleep(0.1)
        yield lambda: read[-1]
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def must_have_read(content: Callable[[], bytes | None], wanted: bytes) -> None:
    await eventually(lambda: content() == wanted, f"{wanted!r} is read")


@pytest.mark.parametrize("save", SAVE_STYLES)
async def test_every_way_to_save_has_an_event(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"0")
    async with watching(path) as content:
        for number in range(1, 5):
            wanted = b"%d" % number
            save(path, wanted)
            await must_have_read(content, wanted)
            # The second look at this change must not be what finds the next one.
            await asyncio.sleep(2 * watch.SECOND_LOOK)


def renamed_folder(top: Path) -> None:
    (top / "a").rename(top / "old")
    new_tree(top, "a/b/c/config.json", b"new")


def deleted_folders(top: Path) -> None:
    (top / "a/b/c/config.json").unlink()
    for folder in ("a/b/c", "a/b", "a"):
        (top / folder).rmdir()
    new_tree(top, "a/b/c/config.json", b"new")


def link_in_place_of_a_folder(top: Path) -> None:
    new_tree(top, "elsewhere/c/config.json", b"new")
    (top / "a/b").rename(top / "a/old")
    (top / "a/b").symlink_to("../elsewhere")


def hard_link(top: Path) -> None:
    (top / "other").mkdir()
    os.link(top / "a/b/c/config.json", top / "other/name")
    (top / "other/name").write_bytes(b"new")


def new_tree(top: Path, path: str, data: bytes) -> None:
    (top / path).parent.mkdir(parents=True)
    (top / path).write_bytes(data)


@pytest.mark.parametrize("change", [renamed_folder, deleted_folders, link_in_place_of_a_folder, hard_link])
async def test_every_change_of_the_way_has_an_event(change: Callable[[Path], None], tmp_path: Path) -> None:
    new_tree(tmp_path, "a/b/c/config.json", b"old")
    async with watching(tmp_path / "a/b/c/config.json") as content:
        change(tmp_path)
        await eventually(lambda: content() == b"new", "the new content is read")
        await asyncio.sleep(2 * watch.SECOND_LOOK)
        (tmp_path / "a/b/c/config.json").write_bytes(b"last")
        await eventually(lambda: content() == b"last", "the content in the new place is read")


@pytest.mark.parametrize("relative", [True, False])
async def test_each_link_of_a_chain_is_watched(relative: bool, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        new_tree(tmp_path, f"{name}/deep/config.json", name.encode())
    places = {"first": "links/second", "links/second": "../third" if relative else str(tmp_path / "third")}
    (tmp_path / "links").mkdir()
    (tmp_path / "third").symlink_to("one")
    for link, target in places.items():
        (tmp_path / link).symlink_to(target)

    def swap(link: str, target: str) -> None:
        (tmp_path / "next").symlink_to(target)
        (tmp_path / "next").replace(tmp_path / link)

    async with watching(tmp_path / "first/deep/config.json") as content:
        for link, target, found in (
            ("third", "two", b"two"),
            ("links/second", "../three", b"three"),
            ("first", "one", b"one"),
        ):
            swap(link, target)
            await must_have_read(content, found)
            await asyncio.sleep(2 * watch.SECOND_LOOK)


async def test_folder_that_appears_later_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a/b/config.json"
    async with watching(path) as content:
        (tmp_path / "a").mkdir()
        await asyncio.sleep(0.1)
        (tmp_path / "a/b").mkdir()
        await asyncio.sleep(0.1)
        path.write_bytes(b"there")
        await eventually(lambda: content() == b"there", "the file is read")


async def test_nothing_wakes_while_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count_looks(monkeypatch)
    path = tmp_path / "config.json"
    path.write_bytes(b"x")
    (tmp_path / "neighbour").touch()
    async with watching(path):
        before = len(looks)
        for _ in range(20):
            (tmp_path / "neighbour").write_bytes(b"a log that grows")
            await asyncio.sleep(0.01)
        assert len(looks) == before


async def test_busy_folder_costs_no_more_looks_than_polls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(monkeypatch)
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.1)
    path = tmp_path / "config.json"
    path.write_bytes(b"x")
    async with watching(path):
        before, begin = len(looks), time.monotonic()
        for number in range(50):
            (tmp_path / f"new{number}").touch()
            await asyncio.sleep(0.01)
        # A look for the first event, and another one after each interval. The events take half a second, or longer on a busy machine.
        polls = (time.monotonic() - begin) / 0.1
        assert 2 <= len(looks) - before <= max(25, polls + 10)


async def test_slow_look_finds_what_has_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SLOW_LOOK", 0.2)
    monkeypatch.setattr(file_events, "_FILE", flags.DELETE_SELF)
    path = tmp_path / "config.json"
    path.write_bytes(b"old")
    async with watching(path) as content:
        path.write_bytes(b"as another machine writes it")
        await eventually(lambda: content() == path.read_bytes(), "the content is read")


@pytest.mark.parametrize("refused", ["INotify", "add_watch"])
async def test_without_events_the_looks_come_soon(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_events if refused == "INotify" else INotify, refused, full)
    path = tmp_path / "config.json"
    path.write_bytes(b"old")
    async with watching(path) as content:
        for number in range(3):
            path.write_bytes(b"%d" % number)
            await eventually(lambda: content() == path.read_bytes(), "the content is read")


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    looks: list[Path] = []
    right = watch._state_of

    def counted(path: Path) -> object:
        looks.append(path)
        return right(path)

    monkeypatch.setattr(watch, "_state_of", counted)
    return looks


def test_places_of_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    for name in ("circle", "file/config.json", "missing/config.json"):
        way = places_of(tmp_path / name)
        assert [*way.entries] == [str(tmp_path)], name
        assert way.file is None, name
        assert way.folders == {str(folder) for folder in tmp_path.parents}


def test_places_of_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_tree(tmp_path, "here/config.json", b"")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    way = places_of(Path("../here/./config.json"))
    assert [*way.entries] == [str(tmp_path / "here")]
    assert way.file == str(tmp_path / "here/config.json")
