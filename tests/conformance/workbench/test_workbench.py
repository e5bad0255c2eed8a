"""The workbench survives every implementation, tells its failures apart, and leaves nothing behind."""

from __future__ import annotations

import base64
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from conformance.errors import HarnessError, ImplementationCrashed, Untestable, Violation
from conformance.model.sut import Profile, Sut, make_sut
from conformance.workbench import launched
from conformance.workbench.census import Census
from conformance.workbench.mocks import StdioMockUpstream
from conformance.workbench.outcome import StartOutcome
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.script import Grandchild, Script, on_call, silence

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def python(program: str) -> Sut:
    """An implementation that is this Python program; few of them write what the protocol has."""
    return Sut("program", (sys.executable, "-I", "-S", "-c", program, "{config}"), Profile("program"))


def workbench_for(sut: Sut, *, keep: bool = False) -> AbstractAsyncContextManager[Workbench]:
    return open_workbench(sut, "TEST", keep=keep)


REFERENCE = make_sut()
WAITS = python("import time; time.sleep(60)")
#: answers every request with an empty result
ANSWERS = python("""
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message: print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}), flush=True)
""")


class TestAWorkingImplementation:
    async def test_is_driven_from_the_handshake_to_a_call(self) -> None:
        async with workbench_for(REFERENCE) as workbench:
            upstream = workbench.stdio("a", args=["x", "y z"], description="First")
            async with workbench.proxy(upstream) as proxy:
                greeting = await proxy.handshake("2025-06-18")
                await proxy.ready("a")
                result = await proxy.call("a", "echo", {"x": 1})
                groups = await proxy.groups()
            (start,) = upstream.starts
            calls = [call.params["arguments"] for call in upstream.requests("tools/call")]
        assert greeting.result["protocolVersion"] == "2025-06-18"
        assert workbench.version == greeting.result["serverInfo"]["version"]
        assert groups == ["a"]
        assert not result.is_error
        assert json.loads(result.text) == {"x": 1}
        assert start.args == ["x", "y z"]
        assert calls == [{"x": 1}]

    async def test_leaves_ordered_evidence_of_both_sides(self) -> None:
        async with workbench_for(REFERENCE) as workbench, workbench.proxy(workbench.stdio("a")) as proxy:
            await proxy.handshake()
            await proxy.ready("a")
        events = workbench.evidence.events
        assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)
        kinds = {(event.actor, event.kind) for event in events}
        assert {("proxy", "start"), ("client", "in"), ("proxy", "out"), ("proxy", "exit")} <= kinds
        assert {("upstream a", "start"), ("upstream a", "line"), ("upstream a", "exit")} <= kinds
        assert workbench.evidence.leftovers == []

    async def test_has_the_time_to_start_that_its_profile_gives(self) -> None:
        hasty = Sut("program", WAITS.command, Profile("program", starts_within=0.2))
        async with workbench_for(hasty) as workbench, workbench.proxy() as proxy:
            with pytest.raises(Untestable, match="initialize was not answered"), anyio.fail_after(3):
                await proxy.handshake()

    async def test_tells_which_of_several_programs_was_spoken_to(self) -> None:
        async with workbench_for(WAITS) as workbench, workbench.proxy() as one, workbench.proxy() as other:
            await one.notify("notifications/one")
            await other.notify("notifications/other")
        spoken = [(event.peer, event.text) for event in workbench.evidence.events if event.kind == "in"]
        assert [peer for peer, _ in spoken] == ["proxy", "proxy-2"]
        assert "notifications/other" in spoken[1][1]
        closed = {event.peer for event in workbench.evidence.events if event.kind == "close-stdin"}
        assert closed == {"proxy", "proxy-2"}

    async def test_serves_the_modern_era_without_a_handshake(self) -> None:
        async with workbench_for(ANSWERS) as workbench, workbench.proxy(wire_types=False) as proxy:
            proxy.modern = True
            await proxy.request("tools/list")
        (sent,) = [event.text for event in workbench.evidence.events if event.kind == "in"]
        meta = json.loads(sent)["params"]["_meta"]
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


class TestABrokenImplementation:
    async def test_that_never_answers_the_handshake_is_untestable(self) -> None:
        async with workbench_for(WAITS) as workbench:
            with pytest.raises(Untestable, match="initialize"):
                async with workbench.proxy(exit_within=0) as proxy:
                    await proxy.handshake(within=0.2)

    async def test_that_never_gets_ready_is_waited_for_no_longer_than_max_wait(self) -> None:
        hurried = replace(WAITS, max_wait=0.1)
        async with workbench_for(hurried) as workbench:
            with anyio.fail_after(4), pytest.raises(Untestable, match=r"within 0\.1 s"):
                async with workbench.proxy() as proxy:
                    with pytest.raises(Untestable, match="initialize"):
                        await proxy.handshake()
                    await proxy.groups()

    async def test_that_exits_at_once_is_untestable_with_its_last_words(self) -> None:
        async with workbench_for(python("import sys; sys.exit('no such option')")) as workbench:
            with pytest.raises(Untestable, match=r"exit status 1.*no such option"):
                async with workbench.proxy() as proxy:
                    await proxy.handshake()

    async def test_that_dies_by_a_signal_has_crashed(self) -> None:
        async with workbench_for(python("import os; os.kill(os.getpid(), 11)")) as workbench:
            with pytest.raises(ImplementationCrashed, match="SIGSEGV"):
                async with workbench.proxy() as proxy:
                    await proxy.handshake()

    async def test_that_vanishes_unnoticed_has_crashed(self) -> None:
        async with workbench_for(python("pass")) as workbench:
            with pytest.raises(ImplementationCrashed, match="exit status 0"):
                async with workbench.proxy() as proxy:
                    await workbench.eventually(
                        lambda: proxy.how_it_ended() != "still running", within=5, what="end"
                    )

    async def test_that_is_ended_by_the_check_has_not_crashed(self) -> None:
        async with workbench_for(WAITS) as workbench, workbench.proxy() as proxy:
            proxy.signal(15)
            assert await proxy.wait_exit(5) == -15

    async def test_that_echoes_its_input_has_not_answered(self) -> None:
        async with (
            workbench_for(
                python("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
            ) as workbench,
            workbench.proxy() as proxy,
        ):
            with pytest.raises(Violation, match="an answer to ping"):
                await proxy.request("ping", within=0.3)
            assert proxy.received == [{"jsonrpc": "2.0", "id": 1001, "method": "ping"}]

    async def test_that_does_not_read_cannot_block_us(self) -> None:
        async with workbench_for(WAITS) as workbench, workbench.proxy(exit_within=0) as proxy:
            with pytest.raises(Violation, match="bytes are read"):
                await proxy.send_raw(b"x" * 10_000_000, within=0.2)

    @pytest.mark.parametrize("line", ["y", "{}", "y" * 5000])
    async def test_that_floods_its_output_is_bounded(
        self, line: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(launched, "MAX_STDOUT", 1_000_000)
        flood = python(f"import sys\nwhile True: sys.stdout.write({line!r} + chr(10))")
        async with (
            workbench_for(flood) as workbench,
            workbench.proxy(exit_within=0, wire_types=False) as proxy,
        ):
            with pytest.raises(Violation, match="flood"):
                await proxy.request("ping", within=1)
            assert len(proxy.stdout) <= 1_000_000

    async def test_that_ignores_every_polite_end_is_killed(self) -> None:
        stubborn = python(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"
        )
        async with (
            workbench_for(stubborn) as workbench,
            workbench.proxy(exit_within=0, wire_types=False) as proxy,
        ):
            await workbench.eventually(lambda: proxy.received, within=5, what="it has started")
        assert "killed by SIGKILL" in [event.text for event in workbench.evidence.events]

    async def test_that_leaves_a_grandchild_with_its_pipes_is_reported(self) -> None:
        parent = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)"
        async with workbench_for(python(parent)) as workbench:
            outcome = await workbench.run_to_exit()
            assert outcome.code == 0
            assert workbench.census.alive() == []
        (leftover,) = workbench.evidence.leftovers
        assert "time.sleep(60)" in leftover

    async def test_is_gone_with_all_its_children_when_the_check_is_cancelled(self) -> None:
        script = Script(ignore_eof=True, ignore_sigterm=True, grandchildren=[Grandchild(ignore_sigterm=True)])
        upstream: StdioMockUpstream | None = None
        with anyio.move_on_after(30) as scope:
            async with workbench_for(REFERENCE) as workbench:
                upstream = workbench.stdio("a", script)
                async with workbench.proxy(upstream, exit_within=0.2) as proxy:
                    await proxy.handshake()
                    await proxy.ready("a")
                    scope.cancel()
                    await anyio.sleep_forever()
        assert upstream is not None
        assert scope.cancelled_caught
        assert Census(workbench.sandbox.token, workbench.sandbox.root).alive() == []
        assert not workbench.sandbox.root.exists()


class TestAnOutcome:
    def outcome(
        self, code: int | None = 1, stdout: bytes = b"", stderr: str = "Error: no such FIELD"
    ) -> StartOutcome:
        return StartOutcome(code, stdout, stderr, 0.1)

    def test_is_a_refusal_with_a_status_and_a_reason(self) -> None:
        self.outcome().refused("field")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"code": None}, "the start is refused"),
            ({"code": 0}, "other than 0"),
            ({"stdout": b"x"}, "not one byte on stdout"),
            ({"stderr": " \n"}, "an explanation on stderr"),
            ({"stderr": "Error"}, "stderr matches /field/"),
        ],
    )
    def test_is_no_refusal_otherwise(self, changes: dict[str, object], expected: str) -> None:
        with pytest.raises(Violation) as caught:
            self.outcome(**changes).refused("field")  # type: ignore[arg-type]  # one wrong part at a time
        assert expected in caught.value.expected

    def test_is_a_crash_after_a_signal(self) -> None:
        with pytest.raises(ImplementationCrashed, match="SIGABRT"):
            self.outcome(code=-6).refused()


class TestTheSandbox:
    async def test_shows_nothing_of_the_callers_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("DYNAMIC_MCP_CONFIG", "RUST_LOG", "HTTPS_PROXY", "XDG_CONFIG_HOME", "PYTHONPATH"):
            monkeypatch.setenv(name, "of-the-caller")
        program = python("import json, os, sys; json.dump([dict(os.environ), os.getcwd()], sys.stdout)")
        async with workbench_for(program) as workbench:
            outcome = await workbench.run_to_exit(env={"ADDED": "1"})
        env, cwd = json.loads(outcome.stdout)
        assert "of-the-caller" not in env.values()
        assert env["ADDED"] == "1"
        assert env["HOME"] == str(workbench.sandbox.home)
        assert env["TMPDIR"] == str(workbench.sandbox.tmp)
        assert env["LANG"] == "C.UTF-8"
        assert cwd == str(workbench.sandbox.cwd)

    async def test_is_removed_even_if_it_was_made_read_only(self) -> None:
        async with workbench_for(WAITS) as workbench:
            folder = workbench.config_text("{}").parent
            folder.chmod(0o500)
        assert not workbench.sandbox.root.exists()

    async def test_stays_and_is_named_when_it_is_to_be_kept(self) -> None:
        async with workbench_for(WAITS, keep=True) as workbench:
            config = workbench.config(workbench.stdio("a"))
        try:
            assert workbench.evidence.sandbox == str(workbench.sandbox.root)
            assert json.loads(config.read_text())["mcpServers"]["a"]["description"] == "The a upstream"
        finally:
            workbench.sandbox.remove()

    async def test_gives_the_wanted_umask_to_the_implementation(self) -> None:
        program = python("import os; print('{\"umask\": %d}' % os.umask(0), flush=True); input()")
        async with (
            workbench_for(program) as workbench,
            workbench.proxy(umask=0o027, wire_types=False) as proxy,
        ):
            await workbench.eventually(lambda: proxy.received, within=5, what="it runs")
            assert proxy.received == [{"umask": 0o027}]

    async def test_takes_the_journals_with_it_so_nobody_reads_an_empty_one_later(self) -> None:
        async with workbench_for(WAITS) as workbench:
            upstream = workbench.stdio("a")
        with pytest.raises(HarnessError, match="closed"):
            upstream.was_never_started()

    @pytest.mark.parametrize(("whole_group", "survivors"), [(False, 1), (True, 0)])
    async def test_signals_the_implementation_alone_or_its_whole_group(
        self, whole_group: bool, survivors: int
    ) -> None:
        program = python("import os, time\nos.fork(); print('{}', flush=True); time.sleep(60)")
        async with (
            workbench_for(program) as workbench,
            workbench.proxy(exit_within=0, wire_types=False) as proxy,
        ):
            await workbench.eventually(lambda: len(proxy.received) == 2, within=5, what="both run")
            proxy.signal(15, whole_group=whole_group)
            assert await proxy.wait_exit(5) == -15
            await workbench.eventually(
                lambda: len(workbench.census.alive()) == survivors, within=5, what="the rest"
            )

    @pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
    async def test_knows_the_pipes_of_the_implementation(self) -> None:
        program = python(
            "import json, os; print(json.dumps({'p': [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1)]}))"
        )
        async with (
            workbench_for(program) as workbench,
            workbench.proxy(exit_within=0, wire_types=False) as proxy,
        ):
            pipes = proxy.pipes
            await workbench.eventually(lambda: proxy.received, within=5, what="it has looked")
            proxy.signal(15)
        assert sorted(pipes) == sorted(proxy.received[0]["p"])


class TestEvidence:
    async def test_never_shows_a_secret_in_any_of_its_forms(self) -> None:
        secret = 'hunter2 "quoted" ü/&'
        forms = [
            secret,
            base64.b64encode(secret.encode()).decode(),
            json.dumps(secret),
            json.dumps({"k": json.dumps(secret)}),
        ]
        program = python(f"import sys\nfor form in {forms!r}: print(form); print(form, file=sys.stderr)")
        async with workbench_for(program) as workbench:
            await workbench.run_to_exit()
            workbench.note(f"{'.' * 445}{secret}{'.' * 500}")
            workbench.secret(secret)
            workbench.note(f"{'.' * 445}{secret}{'.' * 500}")
        shown = (
            workbench.evidence.stderr_tail
            + workbench.evidence.stdout_tail
            + workbench.evidence.events[-1].text
        )
        assert "[redacted]" in shown
        assert "hunter2" not in shown
        assert forms[1] not in shown

    async def test_keeps_both_ends_of_a_very_long_log(self) -> None:
        async with workbench_for(WAITS) as workbench:
            for number in range(5000):
                workbench.note(f"note {number}")
        texts = [event.text for event in workbench.evidence.events]
        assert len(texts) == 2001
        assert texts[0] == "note 0"
        assert texts[-1] == "note 4999"
        assert "3000 events are not shown" in texts


class TestSayingWhatMustBeSo:
    async def test_eventually_returns_what_became_true_or_tells_the_last_look(self) -> None:
        async with workbench_for(WAITS) as workbench:
            looks = iter([0, 0, 7])
            assert await workbench.eventually(lambda: next(looks), within=5, what="seven") == 7
            with pytest.raises(Violation, match=r"(?s)expected: a file.*\[\]"):
                await workbench.eventually(list, within=0.05, what="a file")

    async def test_a_missed_prerequisite_is_the_violation_where_it_must_be_reached(self) -> None:
        async with workbench_for(WAITS) as workbench:
            with pytest.raises(Violation, match="loads a link"), workbench.must("loads a link"):
                raise Untestable("not ready")

    async def test_a_violation_by_the_witness_proves_nothing(self) -> None:
        async with workbench_for(WAITS) as workbench:
            with pytest.raises(Untestable, match="the twin works"), workbench.precondition("the twin works"):
                raise Violation("ready", "silence")

    async def test_all_cases_are_tried_and_all_failures_told(self) -> None:
        tried = []

        async def good() -> None:
            tried.append("good")

        async def bad() -> None:
            raise Violation("this", "that")

        async with workbench_for(WAITS) as workbench:
            with pytest.raises(Violation):
                await workbench.run_cases(bad, good)
            with pytest.raises(ExceptionGroup, match="2 of 3"):
                await workbench.run_cases(bad, bad, good)
        assert tried == ["good", "good"]

    async def test_an_upstream_that_was_started_was_not_never_started(self) -> None:
        async with workbench_for(REFERENCE) as workbench:
            upstream = workbench.stdio("a", Script(on=[on_call("echo", silence())]))
            upstream.was_never_started()
            async with workbench.proxy(upstream) as proxy:
                await proxy.handshake()
                assert (await upstream.started(within=10)).pid in upstream.pids
            with pytest.raises(Violation, match="never started"):
                upstream.was_never_started()

    async def test_an_upstream_is_gone_when_its_grandchildren_are(self) -> None:
        async with workbench_for(REFERENCE) as workbench:
            upstream = workbench.stdio("a", Script(grandchildren=[Grandchild()]))
            async with workbench.serving(upstream) as proxy:
                assert len(upstream.alive) == 2
                with pytest.raises(Violation, match=r"alive: \[\d+, \d+\]"):
                    await upstream.gone(within=0)
                proxy.close_stdin()
                await upstream.gone(within=10)
            assert upstream.alive == []
