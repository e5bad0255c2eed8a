"""A long run of the proxy with servers that crash, hang and flood, a client that cancels and disconnects, and a changing configuration.

One seed replays one schedule. At any time, each call gets at most one answer, which is correct or reports a failure. At the end, every call
has its answer or was cancelled, and no process of any proxy is left. No zombie remains, and neither descriptors nor memory have grown.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from mock_servers.journal import read_journal
from mock_servers.script import (
    Grandchild,
    Script,
    crash,
    duplicate_reply,
    kill_self,
    notify,
    on_call,
    payload,
    raw,
    reply,
    request,
    silence,
    sleep,
    stderr,
    tool,
    wrong_id_reply,
)
from tests.wire import Wire

MIB = 1 << 20
UPSTREAMS = 20
MAX_IN_FLIGHT = 40
#: the configured timeout of a call, and the maximum time until its answer on a busy machine
TIMEOUT = "1s"
ANSWERED_WITHIN = 30.0
PROCESSES_END_WITHIN = 10.0

#: tools that answer correctly, whatever else the server does
CORRECT = ("echo", "slow", "noisy", "twice", "stranger", "asking")
#: tools that never answer in time, and tools that end the server
LATE = ("hang", "late")
FATAL = ("crash", "killed")
#: the minimum number of seconds between two steps of the client; without it, most calls would fail at once
STEP_INTERVAL = 0.003
#: the probability of a save of the configuration at each step
RELOADING = 0.01


def script(number: int) -> Script:
    """The script of one server. All servers offer the same tools; every fourth one leaves a grandchild that ignores SIGTERM."""
    return Script(
        tools=[tool(name) for name in (*CORRECT, *LATE, *FATAL, "large")],
        on=[
            on_call("slow", sleep(0.2)),
            on_call("noisy", stderr(MIB), raw("not json\n{]\n\n"), notify("notifications/message", {"level": "info"}), reply()),
            on_call("twice", duplicate_reply()),
            on_call("stranger", wrong_id_reply(), reply()),
            on_call("asking", request("ping"), request("sampling/createMessage", {}), reply()),
            on_call("crash", crash(3)),
            on_call("killed", kill_self()),
            on_call("hang", silence()),
            on_call("late", sleep(4.0)),
            on_call("large", payload(MIB)),
        ],
        grandchildren=[Grandchild(ignore_sigterm=True)] if number % 4 == 0 else [],
        ignore_sigterm=number % 5 == 0,
        linger=60.0 if number % 5 == 0 else 0.0,
    )  # fmt: skip


@dataclass
class SoakReport:
    """The calls and results of a run."""

    calls: int = 0
    correct: int = 0
    failed: int = 0
    cancelled: int = 0
    proxies: int = 0
    reloads: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Call:
    tool: str
    nonce: str
    sent: float


class Soak:
    """One run: several proxies one after the other, each of which ends in a random way."""

    def __init__(self, folder: Path, seed: int, seconds: float) -> None:
        self.report = SoakReport()
        self._random = random.Random(seed)
        self._folder = folder
        self._seconds = seconds

    def run(self) -> SoakReport:
        """Run proxies until the time is over, or until a problem. Their starts and ends do not count."""
        left = self._seconds
        while left > 0 and not self.report.problems:
            self.report.proxies += 1
            folder = self._folder / f"proxy-{self.report.proxies}"
            folder.mkdir()
            share = min(left, max(10.0, self._seconds / 3))
            _ProxyRun(self, folder, share).run()
            left -= share
        return self.report


class _ProxyRun:
    """One proxy from its start to its end."""

    def __init__(self, soak: Soak, folder: Path, seconds: float) -> None:
        self._random = soak._random
        self._report = soak.report
        self._folder = folder
        self._seconds = seconds
        self._calls: dict[int, _Call] = {}
        self._cancelled: set[int] = set()
        self._last_id = 0

    def run(self) -> None:
        scripts: dict[str, Any] = {f"s{number}": script(number) for number in range(UPSTREAMS)}
        groups = list(scripts)
        with Wire(self._folder, timeout=TIMEOUT, **scripts) as wire:
            proxy = psutil.Process(wire.process.pid)
            # Starts take turns, so the last servers connect late on a busy machine.
            self._wait_for_all_groups(wire, groups)
            for group in groups:
                self._send(wire, group, "large")
            self._settle(wire)
            descriptors, memory = proxy.num_fds(), wire.memory()
            end = time.monotonic() + self._seconds
            while time.monotonic() < end and not self._report.problems:
                self._step(wire, groups)
            for server in wire.servers.values():
                server["enabled"] = True
            wire.save()
            self._settle(wire)
            self._wait_for_all_groups(wire, groups)
            self._compare("descriptors", descriptors, proxy.num_fds(), 4)
            self._compare("memory", memory, wire.memory(), 48 * MIB)
            zombies = [
                one.pid for one in proxy.children(recursive=True) if one.status() == psutil.STATUS_ZOMBIE
            ]
            # The proxy reaps a server that has just crashed only when its process group has ended.
            if len(zombies) > 2:
                self._problem(f"zombies: {zombies}")
            self._end_proxy(wire)
        self._check_no_process_is_left()

    # Steps of the client

    def _step(self, wire: Wire, groups: list[str]) -> None:
        end = time.monotonic() + STEP_INTERVAL
        while time.monotonic() < end:
            if (message := wire.receive_if_any(max(0.0, end - time.monotonic()))) is not None:
                self._check(message)
        if len(self._calls) >= MAX_IN_FLIGHT:
            return
        choice = self._random.random()
        if self._random.random() < RELOADING:
            self._reload(wire)
        if choice < 0.05 and self._calls:
            self._cancel(wire, self._random.choice(list(self._calls)))
            return
        tools = (
            FATAL if choice < 0.053 else LATE if choice < 0.08 else ("large",) if choice < 0.13 else CORRECT
        )
        self._send(wire, self._random.choice(groups), self._random.choice(tools))

    def _reload(self, wire: Wire) -> None:
        """Change the environment or description of one server, switch it on or off, or save an invalid file."""
        name = f"s{self._random.randrange(UPSTREAMS)}"
        choice = self._random.random()
        if choice < 0.4:
            wire.servers[name]["env"] = {"N": str(self._random.random())}
        elif choice < 0.7:
            wire.servers[name]["enabled"] = not wire.servers[name].get("enabled", True)
        elif choice < 0.9:
            wire.servers[name]["description"] = str(self._random.random())
        else:
            wire.servers[name]["enabled"] = "perhaps"
        wire.save()
        if choice >= 0.9:
            wire.servers[name]["enabled"] = True
        self._report.reloads += 1

    def _send(self, wire: Wire, group: str, name: str) -> None:
        self._last_id += 1
        self._report.calls += 1
        nonce = f"{group}-{self._last_id}-{self._random.getrandbits(64):x}"
        self._calls[self._last_id] = _Call(name, nonce, time.monotonic())
        wire.send_call(self._last_id, group, {"nonce": nonce}, tool=name)

    def _cancel(self, wire: Wire, id: int) -> None:
        wire.notify("notifications/cancelled", {"requestId": id})
        del self._calls[id]
        self._cancelled.add(id)
        self._report.cancelled += 1

    def _end_proxy(self, wire: Wire) -> None:
        """End the proxy with calls in flight: close its stdin, or kill it without a chance to clean up."""
        self._send(wire, "s1", "hang")
        self._members = [one.pid for one in psutil.Process(wire.process.pid).children(recursive=True)]
        if self._random.random() < 0.5:
            wire.process.kill()

    # Checks

    def _check(self, message: dict[str, Any]) -> None:
        id = message.get("id")
        if id in self._cancelled:
            # The answer and the cancellation crossed.
            self._cancelled.discard(id)
            return
        call = self._calls.pop(id, None) if isinstance(id, int) else None
        if call is None:
            self._problem(f"an answer without a waiting call: {str(message)[:200]}")
        elif "error" in message or message["result"].get("isError"):
            self._report.failed += 1
        elif call.tool in LATE + FATAL:
            self._problem(f"{call.tool} must not answer, but got {str(message)[:200]}")
        elif not _is_correct(call, message["result"]):
            self._problem(f"{call} got {str(message)[:200]}")
        else:
            self._report.correct += 1

    def _settle(self, wire: Wire) -> None:
        """Wait until no call is in flight. A call without an answer is a problem."""
        end = time.monotonic() + ANSWERED_WITHIN
        while self._calls and time.monotonic() < end:
            if (message := wire.receive_if_any(0.2)) is not None:
                self._check(message)
        for id, call in self._calls.items():
            self._problem(f"call {id} got no answer within {ANSWERED_WITHIN:g} s: {call}")
        self._calls.clear()

    def _wait_for_all_groups(self, wire: Wire, groups: list[str]) -> None:
        """Check that every group answers, after its longest backoff at the latest."""
        waiting, end = set(groups), time.monotonic() + 45.0
        while waiting and time.monotonic() < end:
            time.sleep(0.2)
            for group in sorted(waiting):
                id = self._last_id + 1
                correct = self._report.correct
                self._send(wire, group, "echo")
                self._settle(wire)
                assert id == self._last_id
                if self._report.correct > correct:
                    waiting.discard(group)
        if waiting:
            self._problem(f"groups that do not answer: {sorted(waiting)}")

    def _check_no_process_is_left(self) -> None:
        written = {entry.pid for journal in self._folder.glob("*.journal") for entry in read_journal(journal)}
        end = time.monotonic() + PROCESSES_END_WITHIN
        while left := [pid for pid in written | set(self._members) if _lives(pid, self._folder)]:
            if time.monotonic() > end:
                self._problem(f"processes that outlive the proxy: {left}")
                return
            time.sleep(0.05)

    def _compare(self, what: str, before: int, after: int, most: int) -> None:
        if after > before + most:
            self._problem(f"{what} grew from {before} to {after}")

    def _problem(self, text: str) -> None:
        self._report.problems.append(text)


def _is_correct(call: _Call, result: dict[str, Any]) -> bool:
    text = result["content"][0]["text"]
    if call.tool == "large":
        return len(text) == MIB
    return bool(json.loads(text) == {"nonce": call.nonce})


def _lives(pid: int, folder: Path) -> bool:
    """Whether this process of the run lives; a later process with the same id does not count."""
    try:
        one = psutil.Process(pid)
        return one.status() != psutil.STATUS_ZOMBIE and (
            any(str(folder) in part for part in one.cmdline()) or "dynamic-mcp-guard" in one.cmdline()
        )
    except psutil.Error:
        return False
