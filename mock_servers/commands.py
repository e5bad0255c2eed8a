"""The command lines that start a mock.

Each mock has its own folder, with its script in `script.json` and its journal in `journal.jsonl`. It runs on an isolated
interpreter, so that neither the environment nor the working directory under test can change it. Mocks that need only
the standard library also skip `site`, and start faster.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mock_servers.lifecycle import MAX_LIFE

RemoteKind = Literal["http", "sse", "collector", "oauth"]
LOOPBACK = "127.0.0.1"
SCRIPT, JOURNAL = "script.json", "journal.jsonl"
MAIN = Path(__file__).resolve().parent / "__main__.py"


def stdio(folder: Path, args: Sequence[str] = (), *, max_life: float = MAX_LIFE) -> list[str]:
    """A server on stdin and stdout, which ends after `max_life` seconds at the latest. It only journals `args`."""
    return [sys.executable, "-I", "-S", str(MAIN), "stdio", *_files(folder, max_life), "--", *args]


def remote(
    kind: RemoteKind,
    folder: Path,
    *,
    port: int = 0,
    host: str = LOOPBACK,
    tls: tuple[Path, Path] | None = None,
    max_life: float = MAX_LIFE,
) -> list[str]:
    """A server behind a URL, which ends with its stdin. `tls` holds the files of a certificate chain and of its key.

    The first line on its stdout is a JSON object with its `url`, and its `issuer` if it has an authorization server.
    """
    address = ["--port", str(port), "--host", host]
    if tls is not None:
        address += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
    return [sys.executable, "-I", str(MAIN), kind, *_files(folder, max_life), *address]


def browser(users: str | os.PathLike[str], journal: str | os.PathLike[str]) -> list[str]:
    """A browser; the caller appends the program that it replaces, and the arguments of that program."""
    files = ["--users", os.fspath(users), "--journal", os.fspath(journal)]
    return [sys.executable, "-I", "-S", str(MAIN), "browser", *files, "--"]


def _files(folder: Path, max_life: float) -> list[str]:
    files = ["--journal", str(folder / JOURNAL), "--script", str(folder / SCRIPT)]
    return files if max_life == MAX_LIFE else [*files, "--max-life", f"{max_life:g}"]
