"""Where a child without ``cwd`` starts, found anew for each start."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.upstream.stdio_connector import OwnFolder, folder_of, started_in


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_own_folder_counts_while_it_is_there(own: Path, tmp_path: Path) -> None:
    find = OwnFolder(tmp_path / "config.json")
    assert find() is None
    own.rename(tmp_path / "renamed")
    assert find() is None


def test_deleted_own_folder_gives_way_to_a_new_one_or_to_that_of_the_configuration(
    own: Path, tmp_path: Path
) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    find = OwnFolder(beside / "config.json")
    own.rmdir()
    assert find() == str(beside)
    own.mkdir()
    assert find() == str(own)
    own.rmdir()
    beside.rmdir()
    assert find() is None


def test_folder_of_a_link_is_that_of_its_present_target(tmp_path: Path) -> None:
    link = tmp_path / "config.json"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name / "config.json")
        assert folder_of(link) == str(tmp_path / name)


def test_configured_folder_wins() -> None:
    plain = StdioTransport("x", (), ())
    assert started_in(None, plain) is plain
    assert started_in("/a", plain).cwd == "/a"
    assert started_in("/a", started_in("/b", plain)).cwd == "/b"
