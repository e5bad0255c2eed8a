"""The context managers: they start a mock, show its journal, and leave no process behind."""

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


def test_stopped_server_is_killed_at_the_end_of_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_STOP_WITHIN", 0.2)
    with http_mock(tmp_path) as mock:
        os.kill(mock.pids[0], signal.SIGSTOP)
        assert is_alive(mock)
    assert not is_alive(mock)


def test_leftover_stdio_server_is_killed(tmp_path: Path) -> None:
    with stdio_mock(tmp_path, STUBBORN, args=["x"]) as mock:
        process = subprocess.Popen([mock.command, *mock.args], stdin=subprocess.DEVNULL)
        mock.wait_for(lambda: mock.starts)
        assert mock.alive == [process.pid]
    assert process.wait(5) == -signal.SIGKILL
    assert mock.starts[0].args == ["x"]


def test_stop_can_be_repeated(tmp_path: Path) -> None:
    with http_mock(tmp_path) as mock:
        mock.stop()
        assert not is_alive(mock)
        mock.stop()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(mock.url, timeout=5)


def test_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
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


def test_failed_start_raises_with_the_stderr(tmp_path: Path) -> None:
    with pytest.raises(MockError, match="not an address"), http_mock(tmp_path, host="not an address"):
        pass


def test_silent_start_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "START_WITHIN", 0.3)
    silent: Callable[..., list[str]] = lambda *_, **__: [sys.executable, "-c", "input()"]  # noqa: E731
    monkeypatch.setattr(commands, "remote", silent)
    with pytest.raises(MockError, match=r"did not start within 0\.3 s"), http_mock(tmp_path):
        pass


def test_failed_wait_shows_the_journal(tmp_path: Path) -> None:
    with http_mock(tmp_path) as mock, pytest.raises(MockError, match="listening"):
        mock.wait_for(lambda: mock.requests("tools/call"), within=0.1)


def test_sign_in_can_be_denied(tmp_path: Path) -> None:
    with oauth_mock(tmp_path) as mock:
        params = "response_type=code&redirect_uri=http://127.0.0.1:9/cb&code_challenge_method=S256"
        page = (
            f"{mock.issuer}/authorize?{params}&code_challenge={'c' * 43}&client_id={mock.client_id}&state=1"
        )
        assert "error=access_denied" in mock.sign_in(page, "denies")
        with pytest.raises(MockError, match="400"):
            mock.sign_in(f"{mock.issuer}/authorize?client_id=nobody")
