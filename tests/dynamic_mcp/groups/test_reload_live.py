"""The whole process while its configuration changes: calls in flight, processes that are left, and SIGHUP."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest

from conformance.model.sut import make_sut
from conformance.workbench import save_styles
from conformance.workbench.mocks import StdioMockUpstream
from conformance.workbench.proxy import Proxy
from conformance.workbench.workbench import Workbench, open_workbench
from mock_servers.script import Grandchild, Script, on_call, reply, silence, sleep
from tests.dynamic_mcp.helpers import WITHIN, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the workbench needs POSIX"),
]

HANGS = Script(ignore_eof=True, startup=[sleep(60.0)])
STUBBORN = Script(ignore_eof=True, ignore_sigterm=True, grandchildren=[Grandchild(ignore_sigterm=True)])


@pytest.fixture
async def bench() -> AsyncIterator[Workbench]:
    """A workbench that finds no leftover process at its end."""
    async with open_workbench(make_sut(), "TEST", keep=False) as bench:
        yield bench
    assert bench.evidence.leftovers == []


async def groups_are(proxy: Proxy, *names: str) -> None:
    with anyio.fail_after(WITHIN):
        while await proxy.groups() != list(names):  # noqa: ASYNC110 - another process has no event to wait for
            await anyio.sleep(0.02)


async def test_sighup_reloads_and_logs_one_line(bench: Workbench) -> None:
    a, b = bench.stdio("a"), bench.stdio("b")
    config = bench.config(a)
    async with bench.serving(a, config=config, env={"DYNAMIC_MCP_LOG": "info"}) as proxy:
        for _ in range(2):
            before = proxy.stderr.count("configuration reloaded")
            os.kill(proxy.pid, signal.SIGHUP)
            await eventually(
                lambda before=before: proxy.stderr.count("configuration reloaded") == before + 1,  # type: ignore[misc]
                "SIGHUP reads the file",
            )
        assert "added none; removed none; changed none; unchanged a\n" in proxy.stderr
        bench.save(config, b, how=save_styles.by_rename)
        await groups_are(proxy, "b")
        await eventually(
            lambda: "added b; removed a; changed none; unchanged none\n" in proxy.stderr, "the line"
        )
        assert not (await proxy.call("b", "echo")).is_error


# Runs the proxy in the folder of a configuration, with the name of the file alone.
INSIDE = """
import os, sys
folder, name = os.path.split(sys.argv[1])
os.chdir(folder)
os.execv(sys.executable, [sys.executable, "-m", "dynamic_mcp", name])
"""


async def test_folder_that_comes_back_is_followed_by_a_relative_path(tmp_path: Path) -> None:
    sut = make_sut((sys.executable, "-c", INSIDE, "{config}"))
    async with open_workbench(sut, "TEST", keep=False) as bench:
        a, b = bench.stdio("a"), bench.stdio("b")
        folder = tmp_path / "project"
        folder.mkdir()
        config = folder / "config.json"
        bench.save(config, a)
        async with bench.serving(a, config=config) as proxy:
            shutil.rmtree(folder)
            folder.mkdir()
            bench.save(config, a, b)
            await groups_are(proxy, "a", "b")
            assert not (await proxy.call("b", "echo")).is_error
            os.kill(a.pids[0], signal.SIGKILL)
            await eventually(lambda: len(a.pids) == 2, "the server starts again")
            assert [psutil.Process(pid).cwd() for pid in (a.pids[1], b.pids[0])] == [str(folder)] * 2
        assert "Traceback" not in proxy.stderr


async def test_call_of_a_removed_server_fails_at_once_with_the_reason(bench: Workbench) -> None:
    a, b = bench.stdio("a", Script(on=[on_call("echo", silence())], ignore_eof=True)), bench.stdio("b")
    config = bench.config(a, b)
    async with bench.serving(a, b, config=config) as proxy:

        async def remove() -> None:
            await eventually(lambda: a.requests("tools/call"), "the call reaches the server")
            bench.save(config, b)

        async def call() -> None:
            began = time.monotonic()
            answer = await proxy.call("a", "echo", within=WITHIN)
            assert answer.is_error
            assert "not part of the configuration any more" in answer.text
            assert time.monotonic() - began < 5.0

        await bench.run_cases(remove, call)
        assert "Unknown group 'a'" in (await proxy.call("a", "echo")).text


async def test_call_of_a_changed_server_finishes_in_the_old_process(bench: Workbench) -> None:
    a = bench.stdio("a", Script(on=[on_call("echo", sleep(1.5), reply())]), args=["old"])
    new = bench.stdio("a", args=["new"])
    config = bench.config(a)
    async with bench.serving(a, config=config) as proxy:

        async def change() -> None:
            await eventually(lambda: a.requests("tools/call"), "the call reaches the server")
            bench.save(config, new)
            await eventually(lambda: new.starts, "the new one starts")
            while not new.requests("tools/call"):
                assert not (await proxy.call("a", "add", {"a": 1, "b": 2})).is_error
            assert a.alive

        async def call() -> None:
            answer = await proxy.call("a", "echo", {"x": 1}, within=WITHIN)
            assert not answer.is_error, answer.raw

        await bench.run_cases(change, call)
        await a.gone(WITHIN)


async def test_servers_removed_while_starting_or_resisting_leave_no_process(bench: Workbench) -> None:
    good, hangs, stays = bench.stdio("good"), bench.stdio("hangs", HANGS), bench.stdio("stays", STUBBORN)
    config = bench.config(good)
    async with bench.serving(good, config=config) as proxy:
        bench.save(config, good, hangs, stays)
        await eventually(lambda: hangs.starts and stays.starts, "both start")
        bench.save(config, good)
        await groups_are(proxy, "good")
        began = time.monotonic()
        while hangs.alive or stays.alive:
            assert time.monotonic() < began + WITHIN
            assert not (await proxy.call("good", "echo", within=1.0)).is_error
        assert len(good.starts) == 1


@pytest.mark.parametrize(
    "number", [None, signal.SIGTERM, signal.SIGKILL], ids=["end of file", "TERM", "KILL"]
)
async def test_end_during_a_reload_leaves_no_process(bench: Workbench, number: signal.Signals | None) -> None:
    async def ends_after(seconds: float) -> None:
        old, new = bench.stdio("a", STUBBORN, args=["old"]), bench.stdio("a", STUBBORN, args=["new"])
        removed, added = bench.stdio("removed", STUBBORN), bench.stdio("added", HANGS)
        config = bench.config(old, removed)
        async with bench.serving(old, removed, config=config) as proxy:
            bench.save(config, new, added)
            await eventually(lambda: new.starts and added.starts, "the reload is under way")
            await anyio.sleep(seconds)
            if number is None:
                proxy.close_stdin()
            else:
                proxy.signal(number)
            await bench.no_process_left(proxy, within=WITHIN)

    await bench.run_cases(*(partial(ends_after, seconds) for seconds in (0.0, 0.1, 1.2)))


async def test_mounted_configuration_is_followed(bench: Workbench) -> None:
    """A volume of Kubernetes: config.json -> ..data/config.json, ..data -> ..1, which is swapped for ..2."""
    upstreams: list[StdioMockUpstream] = [bench.stdio("a")]
    folder = bench.sandbox.configs / "volume"
    for number in range(1, 4):
        bench.config(*upstreams[:number], folder=folder / f"..{number}")
        upstreams.append(bench.stdio("abcd"[number]))
    (folder / "..data").symlink_to("..1")
    (folder / "config.json").symlink_to("..data/config.json")
    async with bench.serving(upstreams[0], config=folder / "config.json") as proxy:
        for number in (2, 3):
            (folder / "..next").symlink_to(f"..{number}")
            (folder / "..next").replace(folder / "..data")
            await groups_are(proxy, *"abc"[:number])
        await proxy.ready(*upstreams[:3])
        assert [len(upstream.starts) for upstream in upstreams[:3]] == [1, 1, 1]
