"""`--background`: the command is over when the server listens, the server when its time is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

WITHIN = 20.0


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mock_servers", *map(str, arguments)]
    # What runs on holds stderr open.
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=WITHIN, check=False
    )


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, b"{}", timeout=WITHIN).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()
    except OSError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["http", "oauth"])
def test_the_server_listens_when_the_command_returns_and_ends_after_its_life(
    kind: str, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"

    done = run(kind, "--background", "--max-life", "3", "--journal", journal, "--", "--background")

    url = done.stdout.rstrip("\n")
    assert done.returncode == 0
    assert url.startswith("http://127.0.0.1:")
    assert answers(url)
    end = time.monotonic() + WITHIN
    while (last := json.loads(journal.read_text().splitlines()[-1]))["event"] != "exit":
        assert time.monotonic() < end, "it lives longer than it should"
        time.sleep(0.05)
    assert last["reason"] == "max-life"
    assert not answers(url)


@pytest.mark.slow
def test_a_server_that_cannot_be_is_the_failure_of_the_command(tmp_path: Path) -> None:
    done = run("http", "--background", "--tls-cert", tmp_path / "nothing.pem")

    assert (done.returncode, done.stdout) == (70, "")


def test_what_has_to_be_installed_is_said() -> None:
    code = "import sys; sys.modules['starlette'] = None; from mock_servers.cli import main; main(['http'])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WITHIN, check=False
    )

    assert done.returncode == 2
    assert "pip install 'dynamic-mcp-reference[mocks]'" in done.stderr
