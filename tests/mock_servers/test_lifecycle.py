"""How a mock ends: at the end of its input, by a signal, and after its maximum lifetime."""

import signal
import subprocess
from pathlib import Path

import pytest

from mock_servers.script import Grandchild, Script

from .driver import running


def test_ignore_eof_keeps_it_running(tmp_path: Path) -> None:
    with running(tmp_path, Script(ignore_eof=True)) as mock:
        mock.close_stdin()
        mock.event("eof")
        with pytest.raises(subprocess.TimeoutExpired):
            mock.process.wait(0.3)


def test_linger_delays_the_exit_after_eof(tmp_path: Path) -> None:
    with running(tmp_path, Script(ignore_eof=True, linger=0.3)) as mock:
        mock.close_stdin()
        assert mock.exit_code() == 0
        assert mock.event("exit").t - mock.event("eof").t >= 0.3


def test_sigterm_is_journalled_and_ends_it(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        mock.ask("ping")
        mock.process.terminate()
        assert mock.exit_code() == 143
        assert mock.event("signal").data == {"number": signal.SIGTERM}
        assert mock.event("exit").data == {"code": 143, "reason": "signal"}


def test_ignored_sigterm_is_journalled(tmp_path: Path) -> None:
    with running(tmp_path, Script(ignore_sigterm=True)) as mock:
        mock.ask("ping")
        mock.process.terminate()
        mock.event("signal")
        assert mock.ask("ping")["result"] == {}


def test_work_after_sigterm_finishes_despite_eof(tmp_path: Path) -> None:
    with running(tmp_path, Script(sigterm_delay=0.3)) as mock:
        mock.ask("ping")
        mock.process.terminate()
        mock.event("signal")
        mock.process.terminate()
        mock.close_stdin()
        assert mock.exit_code() == 143
        assert mock.event("marker").t - mock.event("signal").t >= 0.3


def test_max_life_ends_mock_and_grandchild(tmp_path: Path) -> None:
    script = Script(ignore_sigterm=True, ignore_eof=True, grandchildren=[Grandchild(ignore_sigterm=True)])
    with running(tmp_path, script, "--max-life", "0.5") as mock:
        assert mock.exit_code() == 124
        assert mock.event("exit").data["reason"] == "max-life"
        assert mock.event("grandchild-exit").data["reason"] == "max-life"
