"""Environments of the clients: a virtual environment or an npm folder for each, made once, with pinned versions.

`CLIENTS_FOLDER` names the folder that keeps them between runs; without it, a temporary folder does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROGRAMS = Path(__file__).parent / "programs"
#: seconds; most take less than a minute
_INSTALL_TIME = 280.0
#: the variables of this process that a client gets
_PASSED_ON = ("PATH", "LANG", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")


@dataclass(frozen=True)
class Environment:
    """A folder with one client."""

    folder: Path
    packages: tuple[str, ...]

    def run_python(self, program: str, given: str, home: Path, within: float) -> str:
        """The stdout of a program of `programs/`, with `given` on its stdin."""
        command = [str(self.folder / "bin" / "python"), "-W", "ignore", str(_PROGRAMS / program)]
        return run(command, home, given=given, within=within)

    def run_node(self, program: str, given: str, home: Path, within: float) -> str:
        """The same for a JavaScript module, which finds the packages beside itself."""
        copied = shutil.copy(_PROGRAMS / program, self.folder)
        return run(["node", str(copied)], home, given=given, within=within)

    def program(self, *places: str) -> str:
        """The path of a program below the folder `node_modules`."""
        return str(self.folder.joinpath("node_modules", *places))


def run(
    command: list[str],
    home: Path,
    *,
    given: str = "",
    within: float,
    variables: dict[str, str] | None = None,
) -> str:
    """Run a client in an empty home, and return its stdout. Fails with all its output at another status than 0."""
    home.mkdir(exist_ok=True)
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment = {**passed, "HOME": str(home), "TERM": "dumb", **(variables or {})}
    done = subprocess.run(
        command,
        cwd=home,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python_environment(root: Path, name: str, *packages: str) -> Environment:
    """A virtual environment with these packages."""

    def make(folder: Path) -> None:
        _install(sys.executable, "-m", "venv", "--clear", str(folder))
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _install(*pip, *packages)

    return _made(root, name, packages, make)


def npm_environment(root: Path, name: str, *packages: str) -> Environment:
    """A folder with these npm packages. Skips the test without Node."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node for its client")

    def make(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "package.json").write_text("{}")
        quiet = ["--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error"]
        _install("npm", "install", *quiet, "--prefix", str(folder), *packages)

    return _made(root, name, packages, make)


def _made(root: Path, name: str, packages: tuple[str, ...], make: Callable[[Path], None]) -> Environment:
    folder = root / name
    with _locked(root / f"{name}.lock"):
        wanted, stamp = "\n".join(packages), root / f"{name}.txt"
        if not stamp.exists() or stamp.read_text() != wanted or not folder.exists():
            make(folder)
            stamp.write_text(wanted)
    return Environment(folder, packages)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one worker of the run makes an environment."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(*command: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_TIME,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
