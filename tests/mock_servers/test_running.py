"""Mocks for tests in Python: they start, tell what they saw, and leave no process whatever happens."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from mock_servers import commands, running
from mock_servers.processes import alive
from mock_servers.running import MockError, http_mock, oauth_mock, stdio_mock
from mock_servers.script import Script

from .driver import eventually

STUBBORN = Script(ignore_eof=True, ignore_sigterm=True)


def is_alive(mock: running.Mock) -> bool:
    return bool(alive(mock.pids, str(mock.folder)))


def test_a_server_that_ignores_everything_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_STOP_WITHIN", 0.2)
    with http_mock(tmp_path) as mock:
        os.kill(mock.pids[0], signal.SIGSTOP)
        assert is_alive(mock)
    assert not is_alive(mock)


def test_a_stdio_server_that_was_left_behind_is_killed(tmp_path: Path) -> None:
    with stdio_mock(tmp_path, STUBBORN, args=["x"]) as mock:
        process = subprocess.Popen([mock.command, *mock.args], stdin=subprocess.DEVNULL)
        mock.wait_for(lambda: mock.starts)
        assert mock.alive == [process.pid]
    assert process.wait(5) == -signal.SIGKILL
    assert mock.starts[0].args == ["x"]


def test_it_ends_before_its_time_and_only_once(tmp_path: Path) -> None:
    with http_mock(tmp_path) as mock:
        mock.stop()
        assert not is_alive(mock)
        mock.stop()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(mock.url, timeout=5)


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from mock_servers.running import http_mock
with http_mock(Path({str(tmp_path)!r})) as mock:
    print(mock.pids[0], flush=True)
    input()
"""
    root = Path(running.__file__).parents[1]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, env={**os.environ, "PYTHONPATH": str(root)}
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert alive([pid], str(tmp_path)) == [pid]
        owner.kill()
    eventually(lambda: not alive([pid], str(tmp_path)), "the end of the mock")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(MockError, match="not an address"), http_mock(tmp_path, host="not an address"):
        pass


def test_one_that_says_nothing_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "START_WITHIN", 0.3)
    silent: Callable[..., list[str]] = lambda *_, **__: [sys.executable, "-c", "input()"]  # noqa: E731
    monkeypatch.setattr(commands, "remote", silent)
    with pytest.raises(MockError, match=r"did not start within 0\.3 s"), http_mock(tmp_path):
        pass


def test_waiting_fails_with_the_end_of_the_journal(tmp_path: Path) -> None:
    with http_mock(tmp_path) as mock, pytest.raises(MockError, match="listening"):
        mock.wait_for(lambda: mock.requests("tools/call"), within=0.1)


def test_a_user_denies(tmp_path: Path) -> None:
    with oauth_mock(tmp_path) as mock:
        asked = "response_type=code&redirect_uri=http://127.0.0.1:9/cb&code_challenge_method=S256"
        page = f"{mock.issuer}/authorize?{asked}&code_challenge={'c' * 43}&client_id={mock.client_id}&state=1"
        assert "error=access_denied" in mock.sign_in(page, "denies")
        with pytest.raises(MockError, match="400"):
            mock.sign_in(f"{mock.issuer}/authorize?client_id=nobody")
