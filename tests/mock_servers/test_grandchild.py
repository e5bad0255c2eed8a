"""The processes that a mock leaves behind."""

import os
import signal
from pathlib import Path

from mock_servers.script import Grandchild, Script

from .driver import eventually, is_alive, running


def test_grandchild_outlives_the_mock_in_its_process_group(tmp_path: Path) -> None:
    with running(tmp_path, Script(grandchildren=[Grandchild()]), start_new_session=True) as mock:
        mock.ask("ping")
        (child,) = mock.events("grandchild-start")
        assert child.data["ppid"] == mock.process.pid
        assert child.data["pgid"] == mock.process.pid
        mock.close_stdin()
        assert mock.exit_code() == 0
        assert mock.line() == b""
        assert is_alive(child.pid)
        os.killpg(mock.process.pid, signal.SIGTERM)
        eventually(lambda: not is_alive(child.pid), "the end of the grandchild")
        assert mock.event("grandchild-signal").pid == child.pid
        assert mock.event("grandchild-exit").data["code"] == 143


def test_grandchild_ends_with_the_mock(tmp_path: Path) -> None:
    children = [Grandchild(ignore_eof=False, ignore_sigterm=True), Grandchild(ignore_eof=False)]
    with running(tmp_path, Script(grandchildren=children)) as mock:
        mock.ask("ping")
        mock.process.kill()
        mock.exit_code()
        eventually(lambda: len(mock.events("grandchild-exit")) == 2, "the end of both grandchildren")


def test_grandchild_ignores_sigterm_in_its_own_session(tmp_path: Path) -> None:
    script = Script(grandchildren=[Grandchild(ignore_sigterm=True, new_session=True)])
    with running(tmp_path, script) as mock:
        mock.ask("ping")
        child = mock.event("grandchild-start")
        assert child.data["pgid"] == child.data["sid"] == child.pid
        os.kill(child.pid, signal.SIGTERM)
        mock.event("grandchild-signal")
        assert is_alive(child.pid)


def test_grandchild_holds_the_output_open(tmp_path: Path) -> None:
    with running(tmp_path, Script(grandchildren=[Grandchild(holds_stdout=True)])) as mock:
        mock.ask("ping")
        child = mock.event("grandchild-start")
        mock.close_stdin()
        assert mock.exit_code() == 0
        assert mock.reader.is_alive()
        os.kill(child.pid, signal.SIGKILL)
        assert mock.line() == b""
