import json
import os
import select
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from mock_servers.script import (
    Action,
    Rule,
    Script,
    allocate,
    close_stdout,
    compute,
    crash,
    duplicate_reply,
    error,
    flood,
    hold,
    kill_self,
    list_changed,
    notify,
    on_call,
    open_terminal,
    page,
    payload,
    progress,
    raw,
    read_again,
    release,
    reply,
    reply_in_chunks,
    request,
    send,
    set_prompts,
    set_resources,
    set_tools,
    silence,
    sleep,
    stderr,
    stop_reading,
    tool,
    unending,
    wait_for_answer,
    wrong_id_reply,
)

from .driver import WITHIN, eventually, running


def on_echo(*actions: Action) -> Script:
    return Script(on=[on_call("echo", *actions)])


def test_reply_sends_the_given_result(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(reply({"x": [1, "$id"], "y": "$arguments"}))) as mock:
        assert mock.call("echo", z=2) == {"jsonrpc": "2.0", "id": 1, "result": {"x": [1, 1], "y": {"z": 2}}}


def test_error_sends_the_given_error(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(error(-32000, "no", {"id": "$id"}))) as mock:
        assert mock.call()["error"] == {"code": -32000, "message": "no", "data": {"id": 1}}


def test_sleep_delays_only_its_own_call(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(sleep(0.3))) as mock:
        slow = mock.start("tools/call", {"name": "echo"})
        assert "result" in mock.call("add", a=1, b=1)
        assert mock.next()["id"] == slow
        received, sent = mock.event("line"), mock.events("sent")[-1]
        assert sent.t - received.t >= 0.3


def test_silence_never_answers(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(silence())) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert mock.ask("ping")["result"] == {}
        mock.close_stdin()
        assert mock.line() == b""


def test_send_fills_in_the_request_id(tmp_path: Path) -> None:
    message = {"jsonrpc": "2.0", "id": "$id", "result": {}, "extra": True}
    with running(tmp_path, on_echo(send(message))) as mock:
        assert mock.call() == {**message, "id": 1}


def test_raw_writes_exact_text_and_bytes(tmp_path: Path) -> None:
    script = Script(on=[on_call("echo", raw('{ "id":"$id"}\r\n'), raw(b"\xff$id\n"))])
    with running(tmp_path, script) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert (mock.line(), mock.line()) == (b'{ "id":1}\r\n', b"\xff$id\n")


def test_reply_in_chunks_arrives_complete(tmp_path: Path) -> None:
    script = on_echo(reply_in_chunks([1, 5], pause=0.1))
    with running(tmp_path, script) as mock:
        mock.start("tools/call", {"name": "echo", "arguments": {"x": 1}})
        mock.start("ping")
        answers = [mock.next(), mock.next()]
    echoed = next(answer for answer in answers if answer["id"] == 1)
    assert echoed["result"]["structuredContent"] == {"arguments": {"x": 1}}


def test_hold_and_release_reorder_answers(tmp_path: Path) -> None:
    script = Script(on=[on_call("echo", hold("a"), nth=1), on_call("add", reply(), release("a"))])
    with running(tmp_path, script) as mock:
        mock.start("tools/call", {"name": "echo"})
        mock.start("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}})
        assert [mock.next()["id"], mock.next()["id"]] == [2, 1]
        assert mock.call()["id"] == 3


def test_wait_for_answer_goes_on_after_the_answer_to_an_earlier_request(tmp_path: Path) -> None:
    work = [request("ping", id="q"), progress(1), wait_for_answer("q", within=30.0), progress(2)]
    with running(tmp_path, on_echo(*work)) as mock:
        mock.start("tools/call", {"name": "echo", "_meta": {"progressToken": "t"}})
        assert [mock.next()["method"], mock.next()["params"]["progress"]] == ["ping", 1]
        mock.send({"jsonrpc": "2.0", "id": "q", "result": {}})
        assert mock.next()["params"]["progress"] == 2
        assert "result" in mock.next()


def test_duplicate_reply_arrives_twice(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(duplicate_reply())) as mock:
        assert mock.call() == mock.next()


def test_wrong_id_reply_has_an_unknown_id(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(wrong_id_reply(99), reply())) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert [mock.next()["id"], mock.next()["id"]] == [99, 1]


def test_crash_exits_with_the_given_status(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(crash(42))) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert mock.line() == b""
        assert mock.exit_code() == 42
        assert mock.event("exit").data == {"code": 42, "reason": "crash"}


def test_kill_self_dies_by_an_ignored_signal_too(tmp_path: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        folder = tmp_path / number.name
        folder.mkdir()
        script = Script(startup=[kill_self(number)], ignore_sigterm=True)
        with running(folder, script) as mock:
            assert mock.exit_code() == -number
            assert mock.event("exit").data["signal"] == number


def test_close_stdout_keeps_the_process_running(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(close_stdout())) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert mock.line() == b""
        mock.send({"jsonrpc": "2.0", "method": "notifications/x"})
        eventually(lambda: len(mock.events("line")) == 2, "a second line")
        assert mock.process.poll() is None


def test_stderr_writes_text_or_a_number_of_bytes(tmp_path: Path) -> None:
    script = Script(startup=[stderr("hello\n"), stderr(1000)])
    with running(tmp_path, script, stderr=subprocess.PIPE) as mock:
        assert mock.process.stderr
        noise = mock.process.stderr.read(1006)
        assert noise.startswith(b"hello\n")
        assert len(noise) == 1006
        assert mock.ask("ping")["result"] == {}


def test_full_stderr_pipe_does_not_block_other_requests(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(stderr(1 << 20)), stderr=subprocess.PIPE) as mock:
        mock.start("tools/call", {"name": "echo"})
        mock.event("action")
        assert mock.ask("ping")["result"] == {}


def test_notify_and_list_changed_send_notifications(tmp_path: Path) -> None:
    with running(
        tmp_path, on_echo(notify("notifications/message", {"x": 1}), list_changed("prompts"))
    ) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert mock.next() == {"jsonrpc": "2.0", "method": "notifications/message", "params": {"x": 1}}
        assert mock.next() == {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}
        assert mock.next()["id"] == 1


def test_request_waits_for_its_answer_and_journals_it(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(request("ping", wait=WITHIN))) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert mock.next() == {"jsonrpc": "2.0", "method": "ping", "id": 1}
        mock.send({"jsonrpc": "2.0", "id": 1, "result": {}})
        assert "result" in mock.next()
        assert json.loads(mock.event("answer").text)["result"] == {}


def test_payload_has_the_given_size(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(payload(3_000_000))) as mock:
        assert len(mock.call()["result"]["content"][0]["text"]) == 3_000_000
        assert mock.event("sent").data["bytes"] > 3_000_000


def test_set_tools_changes_the_list(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(reply(), set_tools([tool("new")]), list_changed())) as mock:
        capabilities = mock.ask("initialize", {"protocolVersion": "2025-11-25"})["result"]["capabilities"]
        assert capabilities == {"tools": {"listChanged": True}}
        mock.call()
        assert mock.next()["method"] == "notifications/tools/list_changed"
        assert [t["name"] for t in mock.ask("tools/list")["result"]["tools"]] == ["new"]


def test_set_prompts_changes_the_list(tmp_path: Path) -> None:
    script = Script(
        prompts=[], on=[on_call("echo", reply(), set_prompts([{"name": "new"}]), list_changed("prompts"))]
    )
    with running(tmp_path, script) as mock:
        mock.call()
        assert mock.next()["method"] == "notifications/prompts/list_changed"
        assert [prompt["name"] for prompt in mock.ask("prompts/list")["result"]["prompts"]] == ["new"]


def test_set_resources_changes_the_lists(tmp_path: Path) -> None:
    changed = set_resources([{"uri": "x://1", "name": "1"}], [{"uriTemplate": "y://{z}", "name": "y"}])
    script = Script(resources=[], on=[on_call("echo", changed, reply())])
    with running(tmp_path, script) as mock:
        mock.call()
        assert [one["uri"] for one in mock.ask("resources/list")["result"]["resources"]] == ["x://1"]
        templates = mock.ask("resources/templates/list")["result"]["resourceTemplates"]
        assert [one["uriTemplate"] for one in templates] == ["y://{z}"]
        assert "contents" in mock.ask("resources/read", {"uri": "x://1"})["result"]


def test_unending_answer_has_no_line_end(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(unending(100))) as mock:
        mock.start("tools/call", {"name": "echo"})
        mock.event("sent")
        mock.start("ping")
        line = mock.line()
    assert line.startswith(
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"' + b"x" * 100
    )
    assert line.endswith(b'{"jsonrpc":"2.0","id":2,"result":{}}\n')


def test_progress_needs_the_token_of_the_request(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(progress(1), progress(2))) as mock:
        mock.start("tools/call", {"name": "echo", "_meta": {"progressToken": 0}})
        params = [mock.next()["params"] for _ in range(2)]
        assert params == [{"progressToken": 0, "progress": 1}, {"progressToken": 0, "progress": 2}]
        assert "result" in mock.next()
        assert "result" in mock.call()


def test_failed_allocation_aborts_the_mock(tmp_path: Path) -> None:
    script = Script(on=[on_call("echo", allocate(1 << 20)), on_call("add", allocate(1 << 60))])
    with running(tmp_path, script) as mock:
        assert "result" in mock.call()
        mock.start("tools/call", {"name": "add"})
        assert mock.exit_code() == 70
        assert "MemoryError" in mock.event("exit").data["reason"]


def test_compute_uses_cpu_time(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(compute(0.2))) as mock:
        before = sum(psutil.Process(mock.event("start").pid).cpu_times()[:2])
        mock.call()
        assert sum(psutil.Process(mock.event("start").pid).cpu_times()[:2]) - before >= 0.15


def test_action_with_wrong_members_aborts_the_mock(tmp_path: Path) -> None:
    with running(tmp_path, on_echo({"do": "sleep", "minutes": 1})) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert mock.exit_code() == 70
        assert "minutes" in mock.event("exit").data["reason"]


def test_flood_writes_copies_with_their_numbers(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(flood("$n\n", count=3), reply())) as mock:
        mock.start("tools/call", {"name": "echo"})
        assert [mock.line() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        assert "result" in mock.next()


def test_flood_of_bytes_ends_after_its_time(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(flood(b"\xff\n", seconds=0.05), reply())) as mock:
        mock.start("tools/call", {"name": "echo"})
        lines = iter(mock.line, b"")
        assert next(lines) == b"\xff\n"
        assert json.loads(next(line for line in lines if line != b"\xff\n"))["id"] == 1


def test_read_again_ends_stop_reading(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(stop_reading(), reply(), sleep(0.2), read_again())) as mock:
        assert "result" in mock.call("echo")
        assert "result" in mock.call("add", a=1, b=2)


@pytest.mark.slow
def test_stop_reading_lets_the_pipe_fill(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(stop_reading(), reply())) as mock:
        assert "result" in mock.call("echo")
        assert mock.process.stdin
        pipe = mock.process.stdin.fileno()
        os.set_blocking(pipe, False)
        written = 0
        while written < 4 << 20 and select.select([], [pipe], [], 1.0)[1]:
            written += os.write(pipe, b" " * 4095 + b"\n")
        assert written < 1 << 20


def test_stderr_shows_the_arguments(tmp_path: Path) -> None:
    with running(
        tmp_path, on_echo(stderr("usage: $args\n")), "--", "a b", "c", stderr=subprocess.PIPE
    ) as mock:
        mock.call()
        assert mock.process.stderr is not None
        assert mock.process.stderr.readline() == b"usage: a b c\n"


def test_open_terminal_journals_a_failure_without_a_terminal(tmp_path: Path) -> None:
    with running(tmp_path, on_echo(open_terminal("password: "))) as mock:
        mock.call()
        (entry,) = mock.events("terminal")
        assert (entry.data["error"] is None) == has_terminal()


def has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def test_page_lists_generated_definitions_beside_the_own_tools(tmp_path: Path) -> None:
    rules = [Rule("tools/list", [page(2, size=3, more=True)], times=1), Rule("resources/list", [page(1)])]
    with running(tmp_path, Script(resources=[], on=rules)) as mock:
        result = mock.ask("tools/list")["result"]
        assert [entry["name"] for entry in result["tools"]] == ["echo", "add", "generated-0", "generated-1"]
        assert result["tools"][2]["description"] == "xxx"
        assert result["nextCursor"] == "2"
        assert len(mock.ask("tools/list")["result"]["tools"]) == 2
        resources = {"uri": "generated:2", "name": "x", "description": ""}
        assert mock.ask("resources/list")["result"] == {"resources": [resources]}
