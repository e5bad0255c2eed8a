"""The stdio mock: lines in, lines out, everything journalled.

The main thread only reads, journals and admits, so that the journal shows when a line really arrived.
Default answers are written by one worker in the order of the requests; each message with a rule has a
thread of its own, so a delay in one never delays another. When the input ends, work that does not wait on
purpose is finished first (at most `DRAIN` seconds), so `printf ... | python -m mock_servers stdio` shows
all answers.
"""

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from mock_servers.actions import Action
from mock_servers.answers import INVALID_REQUEST, Answers, Refused
from mock_servers.grandchild import fork_all
from mock_servers.journal import Journal
from mock_servers.life import BROKEN, Life
from mock_servers.output import Output
from mock_servers.performance import NOTHING, Arrived, Performance, Stage
from mock_servers.script import Script

PARSE_ERROR = -32700
DRAIN = 1.0
_CHUNK = 1 << 16


def serve(script: Script, journal: Journal, *, max_life: float) -> None:
    """Be the mock on this process's stdin and stdout; never returns."""
    life = Life(journal)
    life.limit(max_life)
    life.listen(ignore_sigterm=script.ignore_sigterm, sigterm_delay=script.sigterm_delay)
    fork_all(script.grandchildren, journal, max_life)
    server = _Server(script, Stage(Answers(script), Output(journal), journal, life))
    try:
        Performance(server.stage, NOTHING, script.startup).play()
        for line in _lines():
            server.receive(line)
        journal.write("eof")
        server.stage.workload.drained(DRAIN)
    except Exception:
        _break_down(life)
    if life.finishing:
        time.sleep(max_life)  # the work that SIGTERM began ends the process
    if script.ignore_eof:
        time.sleep(max_life if script.linger is None else script.linger)
    life.end(0, "eof")


class _Server:
    """Admits messages and hands them to whoever answers them."""

    def __init__(self, script: Script, stage: Stage) -> None:
        self.stage = stage
        self._rules = script.on
        self._matches = [0] * len(script.on)
        self._worker_inbox: queue.SimpleQueue[Arrived] = queue.SimpleQueue()
        self._worker_runs = False

    def receive(self, line: bytes) -> None:
        """One line without its end."""
        self.stage.journal.write_line(line)
        if not line.strip():
            return
        try:
            text = line.decode()
            message = json.loads(text)
        except (ValueError, RecursionError) as problem:
            self._reject(Refused(PARSE_ERROR, f"Parse error: {problem}"))
            return
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._reject(Refused(INVALID_REQUEST, "Not a JSON-RPC 2.0 message"), message)
        elif isinstance(message.get("method"), str):
            self._admit(Arrived(message, text, self.stage.answers.refusal(message)))
        elif "id" in message and ("result" in message or "error" in message):
            self.stage.journal.write("answer", id=message["id"], text=text)
            if isinstance(message["id"], str | int):
                self.stage.answered[message["id"]].set()
        else:
            self._reject(Refused(INVALID_REQUEST, "Neither a request nor an answer"), message)

    def _admit(self, arrived: Arrived) -> None:
        actions = self._actions_for(arrived)
        if arrived.message["method"] == "notifications/cancelled":
            self.stage.answers.cancelled(arrived.message)
        if actions is not None:
            performance = Performance(self.stage, arrived, actions)
            self.stage.workload.begin()
            threading.Thread(target=self._work, args=(performance,), daemon=True).start()
        elif arrived.is_request:
            self._answer_in_order(arrived)

    def _actions_for(self, arrived: Arrived) -> list[Action] | None:
        method, params = arrived.message["method"], arrived.message.get("params")
        tool = params.get("name") if isinstance(params, dict) and method == "tools/call" else None
        chosen = None
        for number, rule in enumerate(self._rules):
            if rule.method != method and not (rule.method == "*" and arrived.is_request):
                continue
            if rule.tool is not None and rule.tool != tool:
                continue
            self._matches[number] += 1
            if chosen is None and rule.serves(self._matches[number]):
                chosen = rule.actions
        return chosen

    def _reject(self, refused: Refused, message: Any = None) -> None:
        identity = message.get("id") if isinstance(message, dict) else None
        if not isinstance(identity, str | int | float):
            identity = None
        self._answer_in_order(Arrived({"method": "", "id": identity}, refusal=refused))

    def _answer_in_order(self, arrived: Arrived) -> None:
        self.stage.workload.begin()
        self._worker_inbox.put(arrived)
        if not self._worker_runs:
            self._worker_runs = True
            threading.Thread(target=self._work_in_order, daemon=True).start()

    def _work_in_order(self) -> None:
        while True:
            self._work(Performance(self.stage, self._worker_inbox.get(), []))

    def _work(self, performance: Performance) -> None:
        try:
            performance.play()
        except Exception:
            _break_down(self.stage.life)
        finally:
            self.stage.workload.finish()


def _lines() -> Iterator[bytes]:
    """The lines of the standard input as they arrive. A last line without an end is not a message and is
    left out; a long line costs time in proportion to its length, whatever the pieces."""
    pending: list[bytes] = []
    while chunk := os.read(0, _CHUNK):
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            yield b"".join([*pending, piece])
            pending.clear()
        if rest:
            pending.append(rest)


def _break_down(life: Life) -> None:
    """A fault in the mock or in its script must be loud: a mock that goes on would look like one that
    behaves."""
    import traceback

    traceback.print_exc()
    sys.stderr.flush()
    life.end(BROKEN, repr(sys.exc_info()[1]))
