"""Every way to save a file is noticed, and an unchanged file is not read again."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.workbench import save_styles
from dynamic_mcp.config import watch
from dynamic_mcp.config.watch import Watch
from tests.dynamic_mcp.helpers import WITHIN, eventually

Save = Callable[[Path, bytes], None]


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(watch, "FAST_POLL_INTERVAL", 0.005)
    monkeypatch.setattr(watch, "QUIET", 0.02)


def content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[list[bytes | None]]:
    """Read the file whenever it may have changed; the contents so far, None for a missing file."""
    read: list[bytes | None] = []

    async def follow() -> None:
        with closing(Watch(path)) as watching:
            while True:
                await watching.changed()
                read.append(content_of(path))

    task = asyncio.get_running_loop().create_task(follow())
    try:
        yield read
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def must_have_read(read: list[bytes | None], content: bytes | None) -> None:
    await eventually(lambda: read and read[-1] == content, f"{content!r} is read")


def by_another_link(path: Path, data: bytes) -> None:
    """Write a new file and let the link at ``path`` point to it."""
    target = path.with_name(f"{path.name}.{time.monotonic_ns()}")
    target.write_bytes(data)
    link = path.with_name("next")
    link.symlink_to(target.name)
    link.replace(path)


def by_another_folder(path: Path, data: bytes) -> None:
    """Like Kubernetes with a mounted volume: ``path`` leads through ..data, a link that moves to a new folder."""
    folder = path.parent / f"..{time.monotonic_ns()}"
    folder.mkdir()
    (folder / path.name).write_bytes(data)
    link = path.parent / "..next"
    link.symlink_to(folder.name)
    link.replace(path.parent / "..data")
    if not path.is_symlink() or path.readlink().parent.name != "..data":
        path.unlink()
        path.symlink_to(Path("..data") / path.name)


def by_deletion(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


SAVE_STYLES: list[Save] = [
    save_styles.in_place,
    save_styles.by_rename,
    save_styles.with_backup,
    by_another_link,
    by_another_folder,
    by_deletion,
]


@pytest.mark.parametrize("save", SAVE_STYLES)
async def test_every_way_to_save_is_noticed(save: Save, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"0")
    async with reading(path) as read:
        await must_have_read(read, b"0")
        for number in range(1, 5):
            content = b"%d" % number
            save(path, content)
            await must_have_read(read, content)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from(SAVE_STYLES), st.sampled_from([0.0, 0.01, 0.05])), min_size=1, max_size=8
    )
)
@settings(max_examples=15, deadline=None)
async def test_last_of_several_saves_is_read(sequence: list[tuple[Save, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_bytes(b"x")
        async with reading(path) as read:
            for number, (save, pause) in enumerate(sequence):
                save(path, b"%d" % number)
                await asyncio.sleep(pause)
            await must_have_read(read, b"%d" % (len(sequence) - 1))


async def test_deletion_and_new_creation_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"before")
    async with reading(path) as read:
        await must_have_read(read, b"before")
        path.unlink()
        await must_have_read(read, None)
        path.write_bytes(b"after")
        await must_have_read(read, b"after")


async def test_replaced_folder_is_followed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    (tmp_path / "current").symlink_to("one")
    async with reading(tmp_path / "current" / "config.json") as read:
        await must_have_read(read, b"one")
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").replace(tmp_path / "current")
        await must_have_read(read, b"two")


async def test_unchanged_file_is_read_only_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SECOND_LOOK", 0.1)
    path = tmp_path / "config.json"
    path.write_bytes(b"x")
    async with reading(path) as read:
        await eventually(lambda: len(read) == 2, "the second look, for coarse clocks")
        await asyncio.sleep(0.3)
        assert len(read) == 2


async def test_second_look_finds_a_write_with_the_same_time_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SECOND_LOOK", 0.3)
    monkeypatch.setattr(watch, "_state_of", lambda path: "always the same")
    path = tmp_path / "config.json"
    path.write_bytes(b"first")
    async with reading(path) as read:
        await must_have_read(read, b"first")
        path.write_bytes(b"other")
        await must_have_read(read, b"other")


async def test_wait_for_a_busy_writer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_DELAY", 0.2)
    path = tmp_path / "config.json"
    path.write_bytes(b"x")

    async def write() -> None:
        while True:
            save_styles.by_rename(path, b"y")
            await asyncio.sleep(0.005)

    writer = asyncio.get_running_loop().create_task(write())
    try:
        assert await asyncio.wait_for(Watch(path).changed(), WITHIN) is False
    finally:
        writer.cancel()


async def test_burst_of_writes_is_one_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUIET", 0.5)
    path = tmp_path / "config.json"
    path.write_bytes(b"x")
    async with reading(path) as read:
        for number in range(20):
            save_styles.in_place(path, b"%d" % number)
            await asyncio.sleep(0.01)
        await eventually(lambda: read, "the burst is read")
        assert read == [b"19"]


async def test_force_returns_without_a_change(tmp_path: Path) -> None:
    watching = Watch(tmp_path / "config.json")
    assert await asyncio.wait_for(watching.changed(), WITHIN) is False
    waiting = asyncio.get_running_loop().create_task(watching.changed())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    watching.force()
    assert await asyncio.wait_for(waiting, WITHIN) is True
    os.close(os.open(tmp_path / "config.json", os.O_CREAT))
    assert await asyncio.wait_for(watching.changed(), WITHIN) is False
