"""Opening a file waits for nothing, trusts no other user, and reading it has a bound."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from dynamic_mcp import atomic_write, files
from dynamic_mcp.files import NotTrusted

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has neither these files nor these owners"
)
ONLY_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def problem_of(path: Path, *, follow: bool = False) -> str:
    with pytest.raises(NotTrusted) as caught:
        files.read(path, 10, follow=follow)
    assert caught.value.filename == str(path)
    return str(caught.value.strerror)


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_content_up_to_the_bound(path: Path) -> None:
    path.write_bytes(b"0123456789")

    assert files.read(path, 10) == b"0123456789"
    with pytest.raises(OSError, match="more than 9 bytes") as caught:
        files.read(path, 9)
    assert caught.value.errno == errno.EFBIG


def test_file_that_grows_is_read_up_to_the_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"x")
    read, total = os.read, 0

    def read_and_append(descriptor: int, size: int) -> bytes:
        nonlocal total
        with path.open("ab") as file:
            file.write(b"x" * (1 << 16))
        content = read(descriptor, size)
        total += len(content)
        return content

    monkeypatch.setattr(os, "read", read_and_append)

    with pytest.raises(OSError, match="more than 1000000 bytes"):
        files.read(path, 1_000_000)
    assert total == 1_000_001


def test_sparse_file_is_read_up_to_the_bound(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 42)

    with pytest.raises(OSError, match="more than"):
        files.read(path, files.MAX_CONFIG)


def test_pipe_without_a_writer(path: Path) -> None:
    os.mkfifo(path)

    assert problem_of(path) == "it is a pipe; use a regular file"


def test_pipe_with_a_silent_writer(path: Path) -> None:
    os.mkfifo(path)
    ends = os.open(path, os.O_RDWR)
    try:
        assert "it is a pipe" in problem_of(path)
    finally:
        os.close(ends)


def test_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert "socket" in problem_of(path)


def test_device() -> None:
    assert problem_of(Path("/dev/zero")) == "it is a device; use a regular file"


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        files.read(tmp_path, 10)


def test_symbolic_link_is_followed_on_request_only(path: Path) -> None:
    path.write_bytes(b"x")
    link = path.with_name("link")
    link.symlink_to(path)

    assert files.read(link, 10, follow=True) == b"x"
    assert problem_of(link) == "it is a symbolic link; use a regular file"


def test_target_of_a_link_has_to_be_a_regular_file(path: Path) -> None:
    os.mkfifo(path)
    link = path.with_name("link")
    link.symlink_to(path)

    assert "it is a pipe" in problem_of(link, follow=True)


@ONLY_ROOT
def test_file_of_another_user(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, -1)

    assert "it belongs to another user (uid 12345)" in problem_of(path)


@ONLY_ROOT
def test_link_to_a_file_of_another_user(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, -1)
    link = path.with_name("link")
    link.symlink_to(path)

    assert "uid 12345" in problem_of(link, follow=True)


def test_file_of_root_is_trusted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"x")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    if owner == 0:
        assert files.read(path, 10) == b"x"
    else:
        assert f"uid {owner}" in problem_of(path)


def test_refused_file_stays_closed(path: Path) -> None:
    os.mkfifo(path)
    before = open_descriptors()
    for _ in range(3):
        problem_of(path)
    assert open_descriptors() == before


def test_missing_file_keeps_its_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(path, 10)


def test_folder_is_opened_with_its_kind_of_path(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder)

    for path, expected in ((folder, False), (link, True)):
        descriptor, is_link = files.open_folder(path)
        assert os.path.samestat(os.fstat(descriptor), folder.stat())
        os.close(descriptor)
        assert is_link is expected


def test_file_is_no_folder(path: Path) -> None:
    path.touch()

    with pytest.raises(NotADirectoryError):
        files.open_folder(path)


@ONLY_ROOT
@pytest.mark.parametrize("linked", [False, True])
def test_folder_of_another_user(tmp_path: Path, linked: bool) -> None:
    folder = path = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, 12345, -1)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(folder)

    with pytest.raises(NotTrusted, match="uid 12345"):
        files.open_folder(path)


def test_exchanged_folder_does_not_get_the_file(tmp_path: Path) -> None:
    """The descriptor stays with the folder that was judged."""
    folder = tmp_path / "folder"
    folder.mkdir()
    descriptor, _ = files.open_folder(folder)
    kept = folder.rename(tmp_path / "kept")
    folder.mkdir()
    try:
        atomic_write.replace(Path("file"), b"x", descriptor)
    finally:
        os.close(descriptor)

    assert [path.name for path in kept.iterdir()] == ["file"]
    assert stat.S_IMODE((kept / "file").stat().st_mode) == 0o600
    assert list(folder.iterdir()) == []


def test_failed_replacement_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()

    with pytest.raises(IsADirectoryError):
        atomic_write.replace(target, b"x")
    assert list(tmp_path.iterdir()) == [target]
