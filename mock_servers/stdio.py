"""The stdio mock: lines in, lines out, everything journalled.

The main thread only reads, journals and admits, so that the journal shows when a line really arrived.
Default answers are written by one worker in the order of the requests; each message with a rule has a
thread of its own, so a delay in one never delays another. When the input ends, work that does not wait on
purpose is finished first (at most `DRAIN` seconds), so `printf ... | python -m mock_servers stdio` shows
all answers.
"""

import os
import queue
import threading
import time
from collections.abc import Iterator

from mock_servers.answers import Answers
from mock_servers.grandchild import fork_all
from mock_servers.incoming import NotAMessage, Rules, is_answer, read_message
from mock_servers.journal import Journal
from mock_servers.lifecycle import Life
from mock_servers.output import Output
from mock_servers.player import NOTHING, Arrived, Performance, Stage
from mock_servers.script import Script

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
        life.break_down()
    if life.finishing:
        time.sleep(max_life)  # the work that SIGTERM began ends the process
    if script.ignore_eof:
        time.sleep(max_life if script.linger is None else script.linger)
    life.end(0, "eof")


class _Server:
    """Admits messages and hands them to whoever answers them."""

    def __init__(self, script: Script, stage: Stage) -> None:
        self.stage = stage
        self._rules = Rules(script.on)
        self._worker_inbox: queue.SimpleQueue[Arrived] = queue.SimpleQueue()
        self._worker_runs = False

    def receive(self, line: bytes) -> None:
        """One line without its end."""
        self.stage.journal.write_line(line)
        if not line.strip():
            return
        try:
            message, text = read_message(line)
        except NotAMessage as problem:
            self._answer_in_order(Arrived({"method": "", "id": problem.id}, refusal=problem.refused))
            return
        if is_answer(message):
            self.stage.take_answer(message, text)
        else:
            self._admit(Arrived(message, text, self.stage.answers.refusal(message)))

    def _admit(self, arrived: Arrived) -> None:
        actions = self._rules.actions_for(arrived.message)
        if arrived.message["method"] == "notifications/cancelled":
            self.stage.answers.cancelled(arrived.message)
        if actions is not None:
            performance = Performance(self.stage, arrived, actions)
            self.stage.workload.begin()
            threading.Thread(target=self._work, args=(performance,), daemon=True).start()
        elif arrived.is_request:
            self._answer_in_order(arrived)

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
            self.stage.life.break_down()
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
