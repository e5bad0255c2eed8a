"""`--background`: the command returns when the server listens, and `--max-life` ends the server."""

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
    # The server keeps stderr open, so the command cannot have a pipe there.
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
def test_command_returns_when_the_server_listens_and_max_life_ends_it(kind: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"

    done = run(kind, "--background", "--max-life", "3", "--journal", journal, "--", "--background")

    url = done.stdout.rstrip("\n")
    assert done.returncode == 0
    assert url.startswith("http://127.0.0.1:")
    assert answers(url)
    end = time.monotonic() + WITHIN
    while (last := json.loads(journal.read_text().splitlines()[-1]))["event"] != "exit":
        assert time.monotonic() < end, "the server outlives --max-life"
        time.sleep(0.05)
    assert last["reason"] == "max-life"
    assert not answers(url)


@pytest.mark.slow
def test_failed_start_is_the_exit_status_of_the_command(tmp_path: Path) -> None:
    done = run("http", "--background", "--tls-cert", tmp_path / "nothing.pem")

    assert (done.returncode, done.stdout) == (70, "")
