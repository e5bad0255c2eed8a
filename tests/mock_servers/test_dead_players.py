"""The actions that leave a mock dead or unreachable although its streams are open."""

from pathlib import Path

from mock_servers.script import Script, close_stdin, fall_silent, hand_over, on_call, reply

from .driver import eventually, running


def test_close_stdin_keeps_the_process_running(tmp_path: Path) -> None:
    with running(tmp_path, Script(on=[on_call("echo", close_stdin(), reply())])) as mock:
        assert "result" in mock.call("echo")

        def refuses() -> bool:
            try:
                mock.send({"jsonrpc": "2.0", "method": "notifications/x"})
            except BrokenPipeError:
                return True
            return False

        eventually(refuses, "the end of its stdin")
        assert mock.process.poll() is None


def test_fall_silent_sends_no_answer_any_more(tmp_path: Path) -> None:
    with running(tmp_path, Script(on=[on_call("echo", fall_silent())])) as mock:
        mock.start("tools/call", {"name": "echo"})
        eventually(lambda: mock.events("action"), "the action")
        mock.start("ping")
        eventually(lambda: len(mock.events("line")) == 2, "a second line")
        assert not mock.events("sent")
        assert mock.process.poll() is None


def test_hand_over_answers_from_another_process(tmp_path: Path) -> None:
    with running(tmp_path, Script(startup=[hand_over()])) as mock:
        assert mock.ask("ping")["result"] == {}
        assert mock.event("handed-over").data["launcher"] == mock.process.pid
        assert mock.event("exit").pid == mock.process.pid
