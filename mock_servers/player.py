"""Plays the actions of a rule for one message.

A `Player` runs one list of actions. All players of a mock share one `MockState`. Each action of
`mock_servers.actions` is the `Player` method of the same name, with the members of the action as keyword arguments.
"""

import itertools
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mock_servers import process_actions
from mock_servers.actions import ANSWERING, Action
from mock_servers.answers import Answers, Json, Refused, meta_of
from mock_servers.journal import Journal
from mock_servers.jsontext import encode, fill, slice_of
from mock_servers.lifecycle import Lifecycle
from mock_servers.pending_work import PendingWork
from mock_servers.receipts import with_receipt

_CHUNK = 1 << 16
_FILLER = b"x" * 79 + b"\n"
#: for each list request: the member of its result, and a definition with its number and description
_GENERATED = {
    "tools/list": ("tools", '{"name":"generated-%d","description":"%s","inputSchema":{"type":"object"}}'),
    "resources/list": ("resources", '{"uri":"generated:%d","name":"x","description":"%s"}'),
    "resources/templates/list": (
        "resourceTemplates",
        '{"uriTemplate":"generated:%d/{+x}","name":"x","description":"%s"}',
    ),
    "prompts/list": ("prompts", '{"name":"generated-%d","description":"%s"}'),
}


@dataclass(frozen=True)
class ReceivedMessage:
    """A message, its text as it arrived, and the reason to refuse it, if there is one."""

    message: Json
    text: str = ""
    refusal: Refused | None = None

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def is_request(self) -> bool:
        return "id" in self.message


#: for actions that no message causes, such as those at startup
NO_MESSAGE = ReceivedMessage({"method": ""})


class MessageWriter(Protocol):
    """Where a player sends messages."""

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Write the pieces of one message, or of arbitrary data in its place, `pause` seconds apart."""

    def write_unrecorded(self, data: bytes) -> None:
        """Write data that the journal does not keep."""

    def close(self) -> None:
        """Close the connection to the client."""


@dataclass
class MockState:
    """The state that all players of a mock share."""

    answers: Answers
    writer: MessageWriter
    journal: Journal
    lifecycle: Lifecycle
    pending_work: PendingWork = field(default_factory=PendingWork)
    released: dict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    answered: dict[Any, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    allocated: list[bytearray] = field(default_factory=list)
    #: set while the mock reads
    reads: threading.Event = field(default_factory=threading.Event)
    #: the generated definitions so far
    generated: int = 0
    #: set once the mock sends no answer any more
    is_silent: threading.Event = field(default_factory=threading.Event)
    #: closes standard input
    close_stdin: Callable[[], None] = lambda: None
    request_ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def default_body(self, received: ReceivedMessage) -> Json:
        """The member `result` or `error` of the well-behaved answer."""
        try:
            if received.refusal is not None:
                raise received.refusal
            result = self.answers.answer(received.message)
        except Refused as refused:
            return {"error": refused.error}
        if self.answers.gives_receipts:
            result = with_receipt(result, received.message, self.journal)
        return {"result": result}

    def answer_by_default(self, received: ReceivedMessage) -> None:
        """Answer as a well-behaved server does."""
        message = received.message
        if not received.is_request:
            return
        subscribes = message["method"] == "subscriptions/listen" and self.answers.is_modern(message)
        if subscribes and received.refusal is None:
            self.send(self.answers.subscribe(message))
        else:
            self.send(answer(received, self.default_body(received)), received)

    def take_answer(self, message: Json, text: str) -> None:
        """Journal the client's answer to a request of the mock, and wake the player that waits for it."""
        self.journal.write("answer", id=message["id"], text=text)
        if isinstance(message["id"], str | int):
            self.answered[message["id"]].set()

    def send(self, message: Any, received: ReceivedMessage = NO_MESSAGE) -> None:
        """Send one message, with its placeholders filled. A silent mock sends no answer."""
        if self.is_silent.is_set() and received.is_request:
            return
        self.writer.write([line_of(message, received)])


def answer(received: ReceivedMessage, body: Json) -> Json:
    """The answer to the message with this `result` or `error`."""
    return {"jsonrpc": "2.0", "id": received.id, **body}


def line_of(message: Any, received: ReceivedMessage) -> bytes:
    """The bytes of a message, with its placeholders filled."""
    text = encode(message)
    if '"$' in text:
        text = fill(text, received.id, slice_of(received.text, "params", "arguments") or "{}")
    return text.encode() + b"\n"


class Player:
    """Plays the actions for one message. An action that ends the process does not return."""

    #: after one of these actions, the player sends no default answer
    answering = ANSWERING

    def __init__(self, state: MockState, received: ReceivedMessage, actions: list[Action]) -> None:
        self._state = state
        self._received = received
        self._actions = actions

    def play(self) -> None:
        """Play all actions, then send the default answer unless one of them replaces it."""
        for action in self._actions:
            name = action["do"]
            self._state.journal.write("action", do=name, request=self._received.id)
            getattr(self, name)(**{key: value for key, value in action.items() if key != "do"})
        if not any(action["do"] in self.answering for action in self._actions):
            self._state.answer_by_default(self._received)

    # Answers

    def reply(self, result: Json | None) -> None:
        if result is None:
            self._state.answer_by_default(self._received)
        else:
            self._state.send(answer(self._received, self._body(result)), self._received)

    def error(self, code: int, message: str, data: Any) -> None:
        refused = Refused(code, message, data)
        self._state.send(answer(self._received, {"error": refused.error}), self._received)

    def silence(self) -> None:
        pass

    def send(self, message: Any) -> None:
        self._state.send(message, self._received)

    def raw(self, text: str | None = None, base64: str | None = None) -> None:
        if text is not None:
            arguments = slice_of(self._received.text, "params", "arguments") or "{}"
            self._state.writer.write([fill(text, self._received.id, arguments).encode()])
        elif base64 is not None:
            from base64 import b64decode

            self._state.writer.write([b64decode(base64)])

    def reply_in_chunks(self, sizes: list[int], pause: float, result: Json | None) -> None:
        line = line_of(answer(self._received, self._body(result)), self._received)
        ends = [0, *itertools.accumulate(sizes), len(line)]
        pieces = [line[start:end] for start, end in itertools.pairwise(ends)]
        self._state.writer.write([piece for piece in pieces if piece], pause)

    def duplicate_reply(self) -> None:
        self._state.answer_by_default(self._received)
        self._state.answer_by_default(self._received)

    def wrong_id_reply(self, id: Any) -> None:
        received = replace(self._received, message={**self._received.message, "id": id})
        self._state.send(answer(received, self._state.default_body(received)), received)

    def payload(self, size: int) -> None:
        result = {"content": [{"type": "text", "text": "x" * size}], "isError": False}
        self._state.send(answer(self._received, self._body(result)), self._received)

    def page(self, entries: int, size: int, more: bool) -> None:
        member, form = _GENERATED[self._received.message["method"]]
        own = self._state.answers.tools or [] if member == "tools" else []
        first = self._state.generated
        self._state.generated += entries
        description = "x" * size
        definitions = [encode(definition) for definition in own]
        definitions += [form % (number, description) for number in range(first, first + entries)]
        cursor = {"nextCursor": str(self._state.generated)} if more else {}
        body = self._body({member: ["$definitions"], **cursor})
        line = line_of(answer(self._received, body), self._received)
        self._state.writer.write_unrecorded(line.replace(b'"$definitions"', ",".join(definitions).encode()))

    def unending(self, size: int) -> None:
        result = {"content": [{"type": "text", "text": "$text"}]}
        head, _, _ = line_of(answer(self._received, self._body(result)), self._received).partition(b"$text")
        self._state.writer.write([head + b"x" * size])

    def flood(
        self,
        text: str | None = None,
        base64: str | None = None,
        seconds: float | None = None,
        count: int | None = None,
    ) -> None:
        from base64 import b64decode

        piece = text.encode() if text is not None else b64decode(base64 or "")
        numbered = text is not None and "$n" in text
        end = None if seconds is None else time.monotonic() + seconds
        # One write for each copy would be slower than the program under test.
        batch = max(1, _CHUNK // max(1, len(piece)))
        written = 0
        while (end is None or time.monotonic() < end) and (count is None or written < count):
            copies = batch if count is None else min(batch, count - written)
            numbers = range(written + 1, written + copies + 1)
            pieces = (piece.replace(b"$n", b"%d" % n) for n in numbers) if numbered else [piece] * copies
            self._state.writer.write_unrecorded(b"".join(pieces))
            written += copies

    def _body(self, result: Json | None) -> Json:
        if result is None:
            return self._state.default_body(self._received)
        return {"result": self._state.answers.completed(self._received.message, result)}

    # Waiting

    def sleep(self, seconds: float) -> None:
        self._wait(threading.Event(), seconds)

    def hold(self, name: str, most: float | None) -> None:
        self._wait(self._state.released[name], most)

    def release(self, name: str) -> None:
        self._state.released[name].set()

    def _wait(self, event: threading.Event, seconds: float | None) -> None:
        with self._state.pending_work.paused():
            event.wait(seconds)

    # Messages that the server begins

    def notify(self, method: str, params: Json | None) -> None:
        self._state.send(_message(method, params), self._received)

    def request(self, method: str, params: Json | None, id: Any, wait: float | None) -> None:
        identity = next(self._state.request_ids) if id is None else id
        self._state.send({**_message(method, params), "id": identity}, self._received)
        if wait is not None:
            self.wait_for_answer(identity, wait)

    def wait_for_answer(self, id: Any, within: float) -> None:
        self._wait(self._state.answered[id], within)

    def progress(self, value: float, more: Json | None = None) -> None:
        token = meta_of(self._received.message).get("progressToken")
        if token is not None:
            self.notify("notifications/progress", {"progressToken": token, "progress": value, **(more or {})})

    def set_tools(self, tools: list[Json]) -> None:
        self._state.answers.tools = tools

    def set_prompts(self, prompts: list[Json]) -> None:
        self._state.answers.prompts = prompts

    def set_resources(self, resources: list[Json], templates: list[Json] | None = None) -> None:
        self._state.answers.resources = resources
        self._state.answers.templates = templates or []

    def list_changed(self, kind: str) -> None:
        for message in self._state.answers.list_changed(kind):
            self._state.send(message)

    def stderr(self, text: str = "", bytes: int = 0) -> None:
        text = text.replace(
            "$args", " ".join(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else [])
        )
        whole, rest = divmod(bytes, len(_FILLER))
        for piece in [text.encode(), *itertools.repeat(_FILLER, whole), _FILLER[:rest]]:
            sys.stderr.buffer.write(piece)
        sys.stderr.buffer.flush()

    # Processes

    def open_terminal(self, words: str) -> None:
        process_actions.open_terminal(self._state.journal, words)

    def kill_siblings(self) -> None:
        process_actions.kill_siblings(self._state.journal)

    def hand_over(self, after: float) -> None:
        process_actions.hand_over(self._state.journal, self._state.lifecycle, after)

    # Resources

    def allocate(self, size: int) -> None:
        self._state.allocated.append(bytearray(size))

    def compute(self, seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    def stop_reading(self) -> None:
        self._state.reads.clear()

    def read_again(self) -> None:
        self._state.reads.set()

    # Ends

    def fall_silent(self) -> None:
        self._state.is_silent.set()

    def close_stdin(self) -> None:
        self._state.close_stdin()

    def close_stdout(self) -> None:
        self._state.writer.close()

    def crash(self, code: int) -> None:
        self._state.lifecycle.exit(code, "crash")

    def kill_self(self, signal: int) -> None:
        self._state.lifecycle.die_by_signal(signal)


def _message(method: str, params: Json | None) -> Json:
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
