"""Where a serving process listens: in a private folder, by a name that depends on what has to be equal."""

from __future__ import annotations

import os
import sys
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
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    expected = tmp_path / f"dynamic-mcp-{os.geteuid()}"
    for runtime in ("", "relative", "/" + "x" * 200):
        assert own_folder({"XDG_RUNTIME_DIR": runtime}) == expected


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
