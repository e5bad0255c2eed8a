"""What is built and installed: the three packages with their data, nothing else, and metadata that says so."""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from importlib.metadata import EntryPoint
from pathlib import Path, PurePosixPath

import pytest

import dynamic_mcp

ROOT = Path(__file__).parents[1]
PACKAGES = ("conformance", "dynamic_mcp", "mock_servers")
#: what else somebody needs who wants to change the project, or to run its tests
SOURCES = (
    *("changes", "docs", "examples", "tests", "tests/docs", ".github/workflows", ".pre-commit-config.yaml"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("locked.txt", "pyproject.toml", "tox.ini"),
)
WITHIN = 100.0
#: The backend that `pyproject.toml` names, without the environment of its own that `python -m build` would download.
_BUILD = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"

pytest.importorskip("hatchling", reason="it is in the dependency group `test`, which tox installs")


def build(what: str, source: Path, into: Path) -> Path:
    """Build a distribution of the project at ``source``; what the builder says beside the name is a fault."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _BUILD, f"build_{what}", str(into)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (name,) = done.stdout.split()
    return into / name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel but its own list of them, which names them with their hashes."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def of_packages() -> set[str]:
    """The files of the packages, as they lie here."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_has_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(contents(wheel))
    own = {name for name in names if PurePosixPath(name).parts[0].endswith(".dist-info")}

    assert names - own == of_packages()
    assert {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in own} == {
        *("METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }


def test_what_is_read_while_it_runs_is_in_the_wheel(wheel: Path) -> None:
    names = set(contents(wheel))

    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {
        "conformance/implementations/reference.toml",
        "conformance/reports/html/templates/page.html.jinja",
        "conformance/reports/report.schema.json",
        "conformance/requirements/cfg.toml",
        "dynamic_mcp/config/schema.json",
    } <= names


@pytest.mark.slow
def test_the_source_distribution_is_enough_to_test_and_to_build_the_same_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()

    assert [name for name in SOURCES if not (source / name).exists()] == []
    assert contents(build("wheel", source, tmp_path)) == contents(wheel)


def test_the_metadata_says_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == "dynamic-mcp-reference"
    assert metadata["Version"] == dynamic_mcp.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Changelog", "Documentation", "Issues", "Repository"}
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_proxy_alone_needs_none_of_what_the_runner_and_the_mocks_need(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]

    assert {line.split("<")[0].split(">")[0] for line in needed} == {
        *("aiohttp", "anyio", "httpx", "inotify-simple", "json5", "msgspec", "uvloop")
    }


def test_the_commands_that_are_installed_can_be_imported(wheel: Path) -> None:
    (text,) = (data for name, data in contents(wheel).items() if name.endswith("/entry_points.txt"))
    lines = [line.split(" = ") for line in text.decode().splitlines() if " = " in line]
    points = {name: EntryPoint(name, value, "") for name, value in lines}

    assert set(points) == {"dynamic-mcp", "dynamic-mcp-conformance", "mock_servers.pytest_plugin"}
    assert callable(points["dynamic-mcp"].load())
    assert callable(points["dynamic-mcp-conformance"].load())
    assert points["mock_servers.pytest_plugin"].load().__name__ == "mock_servers.pytest_plugin"
