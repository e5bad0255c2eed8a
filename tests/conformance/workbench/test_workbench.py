"""The workbench survives every implementation, distinguishes its failures, and leaves nothing behind."""

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
from conformance.model.profile import Profile
from conformance.model.sut import Sut, make_sut
from conformance.workbench import launched
from conformance.workbench.census import Census
from conformance.workbench.mocks import StdioMockUpstream
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.script import Grandchild, Script

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


def python(program: str) -> Sut:
    """An implementation that consists of this Python program. Few of them keep to the protocol."""
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


class TestWorkingImplementation:
    async def test_a_check_goes_from_the_handshake_to_a_call(self) -> None:
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

    async def test_evidence_holds_the_events_of_both_sides_in_order(self) -> None:
        async with workbench_for(REFERENCE) as workbench, workbench.proxy(workbench.stdio("a")) as proxy:
            await proxy.handshake()
            await proxy.ready("a")
        events = workbench.evidence.events
        assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)
        kinds = {(event.actor, event.kind) for event in events}
        assert {("proxy", "start"), ("client", "in"), ("proxy", "out"), ("proxy", "exit")} <= kinds
        assert {("upstream a", "start"), ("upstream a", "line"), ("upstream a", "exit")} <= kinds
        assert workbench.evidence.leftovers == []

    @pytest.mark.slow
    async def test_the_profile_bounds_the_time_to_start(self) -> None:
        hasty = Sut("program", WAITS.command, Profile("program", starts_within=0.2))
        async with workbench_for(hasty) as workbench, workbench.proxy() as proxy:
            with pytest.raises(Untestable, match="no answer to initialize"), anyio.fail_after(3):
                await proxy.handshake()

    @pytest.mark.parametrize(
        ("revisions", "eras"),
        [
            ((), ("legacy", "modern")),
            (("2026-07-28",), ("legacy", "modern")),
            (("2024-11-05", "2025-11-25"), ("legacy",)),
        ],
    )
    async def test_the_profile_decides_about_the_eras(
        self, revisions: tuple[str, ...], eras: tuple[str, ...]
    ) -> None:
        profile = Profile("program", revisions=frozenset(revisions))
        async with workbench_for(Sut("program", WAITS.command, profile)) as workbench:
            assert workbench.eras() == eras

    async def test_a_relay_translates_no_era_for_its_client(self) -> None:
        profile = Profile("program", relay=True, revisions=frozenset({"2025-11-25", "2026-07-28"}))
        async with workbench_for(Sut("program", WAITS.command, profile)) as workbench:
            assert workbench.eras() == ("legacy",)

    @pytest.mark.slow
    async def test_evidence_names_one_of_several_programs(self) -> None:
        async with workbench_for(WAITS) as workbench, workbench.proxy() as one, workbench.proxy() as other:
            await one.notify("notifications/one")
            await other.notify("notifications/other")
        spoken = [(event.peer, event.text) for event in workbench.evidence.events if event.kind == "in"]
        assert [peer for peer, _ in spoken] == ["proxy", "proxy-2"]
        assert "notifications/other" in spoken[1][1]
        closed = {event.peer for event in workbench.evidence.events if event.kind == "close-stdin"}
        assert closed == {"proxy", "proxy-2"}

    async def test_a_modern_request_needs_no_handshake(self) -> None:
        async with workbench_for(ANSWERS) as workbench, workbench.proxy(wire_types=False) as proxy:
            proxy.modern = True
            await proxy.request("tools/list")
        (sent,) = [event.text for event in workbench.evidence.events if event.kind == "in"]
        meta = json.loads(sent)["params"]["_meta"]
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


class TestBrokenImplementation:
    async def test_no_answer_to_the_handshake_is_untestable(self) -> None:
        async with workbench_for(WAITS) as workbench:
            with pytest.raises(Untestable, match="initialize"):
                async with workbench.proxy(exit_within=0) as proxy:
                    await proxy.handshake(within=0.2)

    async def test_no_prerequisite_waits_longer_than_max_wait(self) -> None:
        hurried = replace(WAITS, max_wait=0.1)
        async with workbench_for(hurried) as workbench:
            with anyio.fail_after(4), pytest.raises(Untestable, match=r"within 0\.1 s"):
                async with workbench.proxy() as proxy:
                    with pytest.raises(Untestable, match="initialize"):
                        await proxy.handshake()
                    await proxy.groups()

    async def test_an_exit_at_the_start_is_untestable_with_its_stderr(self) -> None:
        async with workbench_for(python("import sys; sys.exit('no such option')")) as workbench:
            with pytest.raises(Untestable, match="exit status 1"):
                async with workbench.proxy() as proxy:
                    await proxy.handshake()
        assert "no such option" in workbench.evidence.stderr_tail
        assert workbench.answered is False

    async def test_the_evidence_has_the_variables_of_a_check_and_no_secret(self) -> None:
        async with workbench_for(python("pass")) as workbench:
            await workbench.run_to_exit(args=["x"], env={"SAME": "1", "OWN": "canary-5d"})
            await workbench.run_to_exit(args=["x"], env={"SAME": "1"})
            workbench.secret("canary-5d")
        assert workbench.evidence.environment == ["SAME=1", "OWN=[redacted] (run-1)"]
        assert workbench.answered is None

    async def test_a_death_by_a_signal_is_a_crash(self) -> None:
        async with workbench_for(python("import os; os.kill(os.getpid(), 11)")) as workbench:
            with pytest.raises(ImplementationCrashed, match="SIGSEGV"):
                async with workbench.proxy() as proxy:
                    await proxy.handshake()

    async def test_an_unexpected_exit_is_a_crash(self) -> None:
        async with workbench_for(python("pass")) as workbench:
            with pytest.raises(ImplementationCrashed, match="exit status 0"):
                async with workbench.proxy() as proxy:
                    await workbench.eventually(
                        lambda: proxy.how_it_ended() != "still running", within=5, what="end"
                    )

    async def test_an_end_by_the_check_is_no_crash(self) -> None:
        async with workbench_for(WAITS) as workbench, workbench.proxy() as proxy:
            proxy.signal(15)
            assert await proxy.wait_exit(5) == -15

    async def test_an_echo_is_no_answer(self) -> None:
        async with (
            workbench_for(
                python("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
            ) as workbench,
            workbench.proxy() as proxy,
        ):
            with pytest.raises(Violation, match="an answer to ping"):
                await proxy.request("ping", within=0.3)
            assert proxy.received == [{"jsonrpc": "2.0", "id": 1001, "method": "ping"}]

    async def test_a_program_that_does_not_read_cannot_block_the_runner(self) -> None:
        async with workbench_for(WAITS) as workbench, workbench.proxy(exit_within=0) as proxy:
            with pytest.raises(Violation, match="reads 10000000 bytes"):
                await proxy.send_raw(b"x" * 10_000_000, within=0.2)

    @pytest.mark.slow
    @pytest.mark.parametrize("line", ["y", "{}", "y" * 5000])
    async def test_a_flood_of_output_is_bounded(self, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(launched, "MAX_STDOUT", 1_000_000)
        flood = python(f"import sys\nwhile True: sys.stdout.write({line!r} + chr(10))")
        async with (
            workbench_for(flood) as workbench,
            workbench.proxy(exit_within=0, wire_types=False) as proxy,
        ):
            with pytest.raises(Violation, match="flood"):
                await proxy.request("ping", within=1)
            assert len(proxy.stdout) <= 1_000_000

    @pytest.mark.slow
    async def test_a_program_that_ignores_sigterm_is_killed(self) -> None:
        stubborn = python(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"
        )
        async with (
            workbench_for(stubborn) as workbench,
            workbench.proxy(exit_within=0, wire_types=False) as proxy,
        ):
            await workbench.eventually(lambda: proxy.received, within=5, what="it has started")
        assert "killed by SIGKILL" in [event.text for event in workbench.evidence.events]

    async def test_a_grandchild_that_holds_the_pipes_is_a_leftover(self) -> None:
        parent = "import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)"
        async with workbench_for(python(parent)) as workbench:
            outcome = await workbench.run_to_exit()
            assert outcome.code == 0
            assert workbench.census.alive() == []
        (leftover,) = workbench.evidence.leftovers
        assert "time.sleep(60)" in leftover

    @pytest.mark.slow
    async def test_cancel_leaves_no_process(self) -> None:
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


class TestSandbox:
    async def test_hides_the_environment_of_the_caller(self, monkeypatch: pytest.MonkeyPatch) -> None:
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

    async def test_is_removed_even_if_a_folder_is_read_only(self) -> None:
        async with workbench_for(WAITS) as workbench:
            folder = workbench.config_text("{}").parent
            folder.chmod(0o500)
        assert not workbench.sandbox.root.exists()

    async def test_stays_and_is_named_with_keep(self) -> None:
        async with workbench_for(WAITS, keep=True) as workbench:
            config = workbench.config(workbench.stdio("a"))
        try:
            assert workbench.evidence.sandbox == str(workbench.sandbox.root)
            assert (workbench.sandbox.root / "TEST").exists()
            assert json.loads(config.read_text())["mcpServers"]["a"]["description"] == "The a upstream"
        finally:
            workbench.sandbox.remove()

    async def test_sets_the_umask_of_the_implementation(self) -> None:
        program = python("import os; print('{\"umask\": %d}' % os.umask(0), flush=True); input()")
        async with (
            workbench_for(program) as workbench,
            workbench.proxy(umask=0o027, wire_types=False) as proxy,
        ):
            await workbench.eventually(lambda: proxy.received, within=5, what="it runs")
            assert proxy.received == [{"umask": 0o027}]

    async def test_a_journal_cannot_be_read_after_the_end(self) -> None:
        async with workbench_for(WAITS) as workbench:
            upstream = workbench.stdio("a")
        with pytest.raises(HarnessError, match="closed"):
            upstream.must_not_have_started()

    @pytest.mark.parametrize(("whole_group", "survivors"), [(False, 1), (True, 0)])
    async def test_a_signal_reaches_the_program_alone_or_its_group(
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
    async def test_knows_the_names_of_the_pipes(self) -> None:
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
    async def test_redacts_a_secret_in_all_its_forms(self) -> None:
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

    async def test_keeps_both_ends_of_a_long_log(self) -> None:
        async with workbench_for(WAITS) as workbench:
            for number in range(5000):
                workbench.note(f"note {number}")
        texts = [event.text for event in workbench.evidence.events]
        assert len(texts) == 2001
        assert texts[0] == "note 0"
        assert texts[-1] == "note 4999"
        assert "3000 events are not shown" in texts
