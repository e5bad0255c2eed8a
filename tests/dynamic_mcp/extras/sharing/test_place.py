"""Where a serving process listens: in a private folder, by a name that depends on what has to be equal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.sharing import place
from dynamic_mcp.extras.sharing.place import NoProcess, own_folder, place_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets for this")

TEXT = '{"mcpServers": {"a": {"command": "x", "env": {"A": "${A}", "B": "$B"}}}}'


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(place, "_MAX_PATH", 1000)
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def test_name_depends_on_the_file_the_version_and_the_used_variables(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, other, link = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"
    config.write_text(TEXT)
    other.write_text(TEXT)
    link.symlink_to(config)

    def name(path: Path = config, **variables: str) -> Path:
        return place_of(path, {**environment, **variables}).socket

    assert name() == name(B="1") == name(link)
    assert len({name(), name(A=""), name(A="1"), name(other)}) == 4
    before = name()
    monkeypatch.setattr(place, "__version__", "0.0.0")
    assert name() != before


def test_folder_is_private(environment: dict[str, str], tmp_path: Path) -> None:
    folder = own_folder(environment)
    assert folder == tmp_path / "dynamic-mcp"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)
    with pytest.raises(ConfigError, match="other users may reach it"):
        own_folder(environment)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError):
        own_folder(environment)


def test_folder_without_a_usable_runtime_folder_belongs_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_MAX_PATH", 200)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    expected = tmp_path / f"dynamic-mcp-{os.geteuid()}"
    for runtime in ("", "relative", "/" + "x" * 200):
        assert own_folder({"XDG_RUNTIME_DIR": runtime}) == expected


def test_folder_of_another_user_is_not_used(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # ``su`` leaves the variable in the environment.
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    monkeypatch.setattr(place, "_is_mine", lambda folder: folder != str(tmp_path))
    assert own_folder(environment).parent == temporary


def test_folder_without_a_short_path_is_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / ("x" * 100)))
    assert own_folder({}) == Path(f"/tmp/dynamic-mcp-{os.geteuid()}")


def test_no_parent_of_the_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other users could reach it, if the umask allows that.
    monkeypatch.setattr(place, "_MAX_PATH", 1000)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    own_folder({"XDG_RUNTIME_DIR": str(tmp_path / "missing")})
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("kind", ["sock", "lock", "log"])
def test_file_that_cannot_be_used_is_named(environment: dict[str, str], tmp_path: Path, kind: str) -> None:
    config = tmp_path / "a.json"
    config.write_text(TEXT)
    found = place_of(config, environment)
    blocked = found.socket.with_suffix(f".{kind}")
    blocked.mkdir()
    use: dict[str, Callable[[], object]] = {
        "sock": found.listen,
        "lock": lambda: found.lock(0.0),
        "log": lambda: found.open_log(1),
    }
    with pytest.raises(ConfigError, match=f"{blocked}: --share cannot use this path"):
        use[kind]()


def test_log_outlives_its_process_up_to_a_bound(environment: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "a.json"
    config.write_text(TEXT)
    found = place_of(config, environment)
    for written, expected in ((b"ab", b"ab"), (b"cd", b"abcd"), (b"ef", b"ef")):
        descriptor = found.open_log(3)
        os.write(descriptor, written)
        os.close(descriptor)
        assert found.log.read_bytes() == expected


def test_lock_of_an_election_is_held_by_one(environment: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "a.json"
    config.write_text(TEXT)
    found = place_of(config, environment)
    first = found.lock(0.0)
    assert first is not None
    assert found.lock(0.0) is None
    os.close(first)
    second = found.lock(0.0)
    assert second is not None
    os.close(second)
    with pytest.raises(NoProcess):
        found.connect({})
