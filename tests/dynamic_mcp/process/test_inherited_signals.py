"""A client can start the proxy with ignored and blocked signals. The proxy and its servers work as without them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.model.sut import make_sut
from conformance.workbench.workbench import open_workbench
from tests.dynamic_mcp.helpers import WITHIN, eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither exec nor signal masks")

# Runs its arguments as a program with unusual signals.
UNUSUAL = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2))
os.execv(sys.argv[1], sys.argv[1:])
"""
# A server that writes its signals to a file, and ends.
SHOW = """
import json, signal, sys
ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
with open(sys.argv[1], "a") as file:
    print(json.dumps([sorted(ignored), sorted(blocked)]), file=file)
"""


async def test_server_that_dies_comes_back_and_the_proxy_obeys_sigterm() -> None:
    sut = make_sut((sys.executable, "-c", UNUSUAL, sys.executable, "-m", "dynamic_mcp", "{config}"))
    async with open_workbench(sut, "TEST", keep=False) as bench:
        upstream = bench.stdio("a")
        async with bench.proxy(upstream) as proxy:
            await proxy.handshake()
            await proxy.ready(upstream)
            os.kill(upstream.pids[-1], signal.SIGKILL)
            await eventually(lambda: len(upstream.pids) == 2, "the server starts again")
            assert not (await proxy.call("a", "echo")).is_error
            proxy.signal(signal.SIGTERM)
            assert await proxy.wait_exit(WITHIN) == 143
        assert "killed by SIGKILL" in proxy.stderr
        assert "Traceback" not in proxy.stderr


def test_servers_inherit_no_blocked_signal_and_what_the_proxy_does_not_use_stays_ignored(
    tmp_path: Path,
) -> None:
    shown, config = tmp_path / "shown", tmp_path / "config.json"
    entry = {"description": "d", "command": sys.executable, "args": ["-I", "-S", "-c", SHOW, str(shown)]}
    config.write_text(json.dumps({"mcpServers": {"a": entry}}))
    words = (
        sys.executable,
        "-c",
        UNUSUAL,
        sys.executable,
        "-m",
        "dynamic_mcp",
        "check",
        str(config),
        "--connect",
    )
    subprocess.run(words, capture_output=True, timeout=60, check=False)

    ignored, blocked = json.loads(shown.read_text().splitlines()[0])
    assert blocked == []
    # Python itself ignores SIGPIPE and SIGXFSZ; a shell ignores more for its jobs in the background.
    inherited = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    assert set(ignored) - inherited == {signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ} - inherited
