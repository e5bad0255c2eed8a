"""The token files: their owner, their permissions, and that no reader sees a partial file."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamic_mcp.errors import StoreFailed, UpstreamFailed
from dynamic_mcp.oauth import store as store_module
from dynamic_mcp.oauth.store import FileStore, default_directory, file_name
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from tests.dynamic_mcp.helpers import WITHIN

TOKENS = Tokens("a", "r", "2026-01-31T18:03:17.250Z", server="docs", client=ClientRegistration("app"))
NAMES = st.text(st.characters(), max_size=300)
#: Names that a file system or a URL may fold into one.
CLOSE_NAMES = st.text(st.sampled_from("aA%~./ \0é2E"), max_size=8)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@given(NAMES)
@example("../../evil")
@example("/tmp/evil")
@example("..")
@example("a\0b")
@example("é" * 100)
@example("\udcff")
def test_file_names_stay_in_the_directory_and_are_short(server: str) -> None:
    directory = Path("/home/u/.dynamic-mcp/oauth-servers")
    path = FileStore(server, directory).path

    assert Path(os.path.normpath(path)) == path
    assert path.parent == directory
    assert path.name.endswith(".json")
    assert "\0" not in path.name
    assert len(os.fsencode(path.name)) < 200


@given(st.one_of(NAMES, CLOSE_NAMES), st.one_of(NAMES, CLOSE_NAMES))
@example("é" * 100, "é" * 99 + "è")
@example(".a", "%2Ea")
@example("x" * 300, "x" * 301)
def test_file_names_are_unique(a: str, b: str) -> None:
    assert (file_name(a) == file_name(b)) == (a == b)


@given(st.text("abcXYZ019-_", min_size=1, max_size=100))
def test_ordinary_name_is_the_file_name(server: str) -> None:
    assert file_name(server) == server


def test_files_are_below_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert default_directory() == Path("/home/somebody/.dynamic-mcp/oauth-servers")


def test_load_returns_what_save_stored(store: FileStore) -> None:
    assert store.load() is None
    store.save(TOKENS)

    assert store.load() == TOKENS
    assert json.loads(store.path.read_bytes())["access_token"] == "a"


def test_delete_removes_the_file(store: FileStore) -> None:
    store.save(TOKENS)

    assert store.delete()
    assert not store.delete()
    assert store.load() is None


@pytest.mark.parametrize("value", [0o000, 0o022, 0o077])
def test_files_are_private_for_any_umask(store: FileStore, directory: Path, value: int) -> None:
    async def save_twice() -> None:
        async with store.lock():
            store.save(TOKENS)
            store.save(TOKENS)

    with umask(value):
        asyncio.run(save_twice())

    assert {path.name: mode_of(path) for path in directory.iterdir()} == {
        "docs.json": 0o600,
        "docs.lock": 0o600,
    }
    assert mode_of(directory) == mode_of(directory.parent) == 0o700


def test_open_permissions_are_restricted_and_logged(
    store: FileStore, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory.mkdir(parents=True)
    store.path.write_text('{"access_token":"canary"}')
    for path, mode in ((directory.parent, 0o755), (directory, 0o777), (store.path, 0o664)):
        path.chmod(mode)

    assert store.load() == Tokens("canary")
    assert [mode_of(path) for path in (directory.parent, directory, store.path)] == [0o700, 0o700, 0o600]
    assert len(caplog.records) == 3
    assert "canary" not in caplog.text
    caplog.clear()
    store.load()
    assert not caplog.records


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o777])
def test_world_writable_file_is_removed_unread(
    store: FileStore, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    store.save(TOKENS)
    store.path.chmod(mode)

    assert store.load() is None
    assert store.load() is None, "believed once it is closed"
    (record,) = caplog.records
    assert str(store.path) in record.getMessage()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_file_of_another_user_is_not_used(
    store: FileStore, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(TOKENS)
    os.chown(store.path, 12345, -1)

    assert store.load() is None
    assert store.load() is None
    (message,) = caplog.messages
    assert f"{store.path}: it belongs to another user (uid 12345)" in message

    store.save(TOKENS)
    assert store.load() == TOKENS, "a sign-in replaces the file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["the folder", "its parent"])
async def test_folder_of_another_user_is_neither_used_nor_changed(
    store: FileStore, directory: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    store.save(TOKENS)
    folder = directory if place == "the folder" else directory.parent
    folder.chmod(0o755)
    os.chown(folder, 12345, -1)

    assert store.load() is None
    assert f"{folder}: it belongs to another user (uid 12345)" in caplog.text
    with pytest.raises(OSError, match="belongs to another user"):
        store.save(TOKENS)
    with pytest.raises(StoreFailed, match="belongs to another user"):
        store.delete()
    async with asyncio.timeout(WITHIN), store.lock(), store.lock():
        assert mode_of(folder) == 0o755


def test_target_of_a_linked_folder_is_not_changed(
    store: FileStore, directory: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    directory.parent.mkdir(mode=0o700)
    directory.symlink_to(elsewhere)

    store.save(TOKENS)
    assert store.load() == TOKENS
    assert (mode_of(elsewhere), mode_of(elsewhere / "docs.json")) == (0o755, 0o600)
    assert not caplog.records


def make_link(path: Path) -> None:
    path.with_name("kept.json").write_bytes(b'{"access_token":"kept"}')
    path.symlink_to(path.with_name("kept.json"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize(("make", "word"), [(make_link, "symbolic link"), (os.mkfifo, "pipe")])
async def test_special_file_is_not_used_and_replaced_by_a_sign_in(
    store: FileStore,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path], None],
    word: str,
) -> None:
    store.make_directories()
    make(store.path)

    async with asyncio.timeout(WITHIN), store.lock():
        assert store.load() is None
    assert word in caplog.text
    store.save(TOKENS)
    assert store.load() == TOKENS


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
async def test_pipe_in_place_of_a_lock_does_not_block(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.make_directories()
    os.mkfifo(store.path.with_suffix(".lock"))

    async with asyncio.timeout(WITHIN), store.lock():
        assert "docs.lock: it is a pipe" in caplog.text


def test_huge_file_is_not_read(store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    store.save(TOKENS)
    os.truncate(store.path, 1 << 40)

    assert store.load() is None
    assert "more than 1048576 bytes" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"access_token":""}',
        b'{"access_token":null}',
        b'{"access_token":7}',
        b'{"access_token":"a","expires_at":"soon"}',
        b'{"access_token":"a","expires_at":1769882597}',
        b'{"access_token":"a","expires_at":"2026-01-31T18:03:17"}',
        b'{"access_token":"a","client":{}}',
        b'{"access_token":"a\xff"}',
        b'{"access_token":"a","x":' + b"[" * 100_000,
    ],
)
def test_damaged_file_counts_as_no_token(
    store: FileStore, directory: Path, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    directory.mkdir(parents=True)
    store.path.write_bytes(text)

    assert store.load() is None
    store.save(TOKENS)
    assert store.load() == TOKENS


@pytest.mark.parametrize(
    "expires_at",
    [
        "2026-01-31T18:03:17.123456789Z",
        "2026-01-31T18:03:17.123456Z",
        "2026-01-31T18:03:17.123Z",
        "2026-01-31T18:03:17Z",
        "2026-01-31T19:03:17.123456789+01:00",
    ],
)
def test_file_of_dmcp_is_read(store: FileStore, directory: Path, expires_at: str) -> None:
    directory.mkdir(parents=True)
    written = {"access_token": "a", "refresh_token": "r", "expires_at": expires_at}
    store.path.write_text(json.dumps(written, indent=2))

    tokens = store.load()
    assert tokens is not None
    assert (tokens.access_token, tokens.refresh_token) == ("a", "r")
    # 2026-01-31T18:03:17Z
    assert tokens.seconds_left(1_769_882_597) == pytest.approx(0.0, abs=0.2)


def test_file_of_dmcp_without_optional_members_is_read(store: FileStore, directory: Path) -> None:
    directory.mkdir(parents=True)
    store.path.write_text('{"access_token":"a","refresh_token":null,"expires_at":null}')

    assert store.load() == Tokens("a")


def test_readers_never_see_a_partial_file(store: FileStore) -> None:
    store.save(TOKENS)
    seen: set[str] = set()
    broken: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(json.loads(store.path.read_bytes())["access_token"])
            except (OSError, ValueError, KeyError) as error:
                broken.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        store.save(Tokens(f"{number}" * 2000, server="docs"))
    done.set()
    reader.join(WITHIN)

    assert not reader.is_alive()
    assert not broken
    assert len(seen) > 1


def test_failed_save_leaves_only_the_old_file(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(TOKENS)

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        store.save(Tokens("new", server="docs"))

    assert store.load() == TOKENS
    assert [path.name for path in directory.iterdir()] == ["docs.json"]


HOLDER = """
import asyncio, sys
from pathlib import Path
from dynamic_mcp.oauth.store import FileStore
async def main():
    async with FileStore("docs", Path(sys.argv[1])).lock():
        print("held", flush=True)
        sys.stdin.readline()
asyncio.run(main())
"""


@pytest.fixture
def holder(store: FileStore, directory: Path) -> list[str]:
    """The command of a process that holds the lock of an existing file until it reads a line, or is killed."""
    store.save(TOKENS)
    return [sys.executable, "-c", HOLDER, str(directory)]


async def test_lock_excludes_other_processes(store: FileStore, holder: list[str]) -> None:
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(*holder, stdin=pipe, stdout=pipe)
    assert other.stdin is not None
    assert other.stdout is not None
    order: list[str] = []

    async def take() -> None:
        async with store.lock():
            order.append("taken")

    async with asyncio.timeout(WITHIN):
        assert await other.stdout.readline() == b"held\n"
        taking = asyncio.create_task(take())
        # Long enough for several attempts.
        done, _ = await asyncio.wait({taking}, timeout=4 * store_module._LOCK_POLL)
        assert not done
        order.append("let go")
        other.stdin.write(b"\n")
        await taking
        await other.wait()

    assert order == ["let go", "taken"]


async def test_killed_process_releases_the_lock(store: FileStore, holder: list[str]) -> None:
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(*holder, stdin=pipe, stdout=pipe)
    assert other.stdout is not None
    async with asyncio.timeout(WITHIN):
        assert await other.stdout.readline() == b"held\n"
        other.kill()
        await other.wait()
        async with store.lock():
            assert store.load() == TOKENS


async def test_wait_for_the_lock_times_out(
    store: FileStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT", 0.1)
    store.save(TOKENS)
    async with store.lock():
        with pytest.raises(UpstreamFailed, match="another process holds the lock"):
            async with FileStore("docs", directory).lock():
                raise AssertionError("two hold the lock")


async def test_each_server_has_its_own_lock(store: FileStore, directory: Path) -> None:
    other = FileStore("other", directory)
    store.save(TOKENS)
    other.save(TOKENS)
    async with asyncio.timeout(WITHIN), store.lock(), other.lock():
        assert store.load() == TOKENS


async def test_waiter_locks_the_new_file_after_a_replacement(store: FileStore, directory: Path) -> None:
    store.save(TOKENS)
    other = FileStore("docs", directory)
    async with asyncio.timeout(WITHIN):
        async with store.lock():
            held = other.lock()
            waiting = asyncio.create_task(held.__aenter__())
            await asyncio.sleep(2 * store_module._LOCK_POLL)
            store.save(TOKENS)
        await waiting
        third = asyncio.create_task(store.lock().__aenter__())
        done, _ = await asyncio.wait({third}, timeout=4 * store_module._LOCK_POLL)
        assert not done
        third.cancel()
        await held.__aexit__(None, None, None)


async def test_lock_in_an_unwritable_folder_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FileStore("docs", tmp_path / "file" / "oauth-servers")
    async with store.lock():
        with pytest.raises(OSError, match="file"):
            store.save(TOKENS)

    assert store.load() is None
