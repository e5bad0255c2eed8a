"""The stdio mock: it reads lines, answers with lines, and journals both.

The main thread only reads, journals and dispatches, so the journal shows when a line really arrived. One worker
thread writes the default answers in the order of the requests. Each message with a rule has its own thread, so a
delay in one rule never delays another message. After the end of the input, the mock finishes the work that does not
wait on purpose, for at most `DRAIN` seconds. So `printf ... | python -m mock_servers stdio` shows every answer.
"""

import os
import queue
import select
import threading
import time
from collections.abc import Iterator

from mock_servers.answers import Answers
from mock_servers.grandchild import fork_all
from mock_servers.incoming import InvalidMessage, RuleMatcher, is_answer, read_message
from mock_servers.journal import Journal
from mock_servers.lifecycle import Lifecycle
from mock_servers.player import NO_MESSAGE, MockState, Player, ReceivedMessage
from mock_servers.script import Script
from mock_servers.stdout_writer import StdoutWriter

DRAIN = 1.0
_CHUNK = 1 << 16


def serve(script: Script, journal: Journal, *, max_life: float) -> None:
    """Run the mock on this process's stdin and stdout; never returns."""
    lifecycle = Lifecycle(journal)
    lifecycle.exit_after(max_life)
    lifecycle.handle_signals(ignore_sigterm=script.ignore_sigterm, sigterm_delay=script.sigterm_delay)
    fork_all(script.grandchildren, journal, max_life)
    server = _StdioServer(script, MockState(Answers(script), StdoutWriter(journal), journal, lifecycle))
    closing, close = os.pipe()
    server.state.close_stdin = lambda: os.close(close)
    try:
        server.state.reads.set()
        Player(server.state, NO_MESSAGE, script.startup).play()
        for line in _lines(server.state.reads, closing):
            server.receive(line)
        journal.write("eof")
        server.state.pending_work.wait_until_done(DRAIN)
    except Exception:
        lifecycle.abort()
    if lifecycle.is_finishing:
        time.sleep(max_life)  # the work after SIGTERM ends the process
    if script.ignore_eof:
        time.sleep(max_life if script.linger is None else script.linger)
    lifecycle.exit(0, "eof")


class _StdioServer:
    """Accepts messages and passes each one to the thread that answers it."""

    def __init__(self, script: Script, state: MockState) -> None:
        self.state = state
        self._rules = RuleMatcher(script.on)
        self._worker_inbox: queue.SimpleQueue[ReceivedMessage] = queue.SimpleQueue()
        self._worker_runs = False

    def receive(self, line: bytes) -> None:
        """Handle one line, given without its line end."""
        self.state.journal.write_line(line)
        if not line.strip():
            return
        try:
            message, text = read_message(line)
        except InvalidMessage as problem:
            self._answer_in_order(ReceivedMessage({"method": "", "id": problem.id}, refusal=problem.refused))
            return
        if is_answer(message):
            self.state.take_answer(message, text)
        else:
            self._dispatch(ReceivedMessage(message, text, self.state.answers.refusal(message)))

    def _dispatch(self, received: ReceivedMessage) -> None:
        actions = self._rules.actions_for(received.message)
        if received.message["method"] == "notifications/cancelled":
            self.state.answers.cancel(received.message)
        if actions is not None:
            player = Player(self.state, received, actions)
            self.state.pending_work.begin()
            threading.Thread(target=self._work, args=(player,), daemon=True).start()
        elif received.is_request:
            self._answer_in_order(received)

    def _answer_in_order(self, received: ReceivedMessage) -> None:
        self.state.pending_work.begin()
        self._worker_inbox.put(received)
        if not self._worker_runs:
            self._worker_runs = True
            threading.Thread(target=self._work_in_order, daemon=True).start()

    def _work_in_order(self) -> None:
        while True:
            self._work(Player(self.state, self._worker_inbox.get(), []))

    def _work(self, player: Player) -> None:
        try:
            player.play()
        except Exception:
            self.state.lifecycle.abort()
        finally:
            self.state.pending_work.finish()


def _lines(reads: threading.Event, closing: int) -> Iterator[bytes]:
    """The lines of standard input, each as soon as its line end arrives, while ``reads`` is set.

    The end of the pipe ``closing`` closes standard input. Another thread cannot do that, because a read in progress keeps it open.

    The generator drops a last line without a line end, because MCP messages end with one. The time for a long line
    grows linearly, however many pieces it arrives in.
    """
    pending: list[bytes] = []
    while reads.wait():
        if closing in select.select([0, closing], [], [])[0]:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            threading.Event().wait()
        if not (chunk := os.read(0, _CHUNK)):
            break
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            reads.wait()
            yield b"".join([*pending, piece])
            pending.clear()
        if rest:
            pending.append(rest)
