"""Plays the actions of a rule for one message.

`Stage` is what all performances of a mock share; a `Performance` is one run through a list of actions. Each
action of `mock_servers.actions` is the method of the same name here, with the action's members as its
keyword arguments.
"""

import itertools
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Protocol

from mock_servers.actions import ANSWERING, Action
from mock_servers.answers import Answers, Json, Refused, meta_of
from mock_servers.journal import Journal
from mock_servers.jsontext import encode, fill, slice_of
from mock_servers.lifecycle import Life
from mock_servers.workload import Workload

_FILLER = b"x" * 79 + b"\n"


@dataclass(frozen=True)
class Arrived:
    """A message, the line that it was, and why it must be refused, if so. Startup actions play for
    `NOTHING`."""

    message: Json
    line: str = ""
    refusal: Refused | None = None

    @property
    def id(self) -> Any:
        return self.message.get("id")

    @property
    def is_request(self) -> bool:
        return "id" in self.message


NOTHING = Arrived({"method": ""})


class Output(Protocol):
    """Where messages go."""

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Write the pieces of one message, or of what stands in its place, `pause` seconds apart."""

    def close(self) -> None:
        """Close the way to the client."""


@dataclass
class Stage:
    """What the performances share."""

    answers: Answers
    output: Output
    journal: Journal
    life: Life
    workload: Workload = field(default_factory=Workload)
    released: dict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    answered: dict[Any, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))
    taken: list[bytearray] = field(default_factory=list)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def default_body(self, arrived: Arrived) -> Json:
        """The member `result` or `error` of the well-behaved answer."""
        try:
            if arrived.refusal is not None:
                raise arrived.refusal
            return {"result": self.answers.answer(arrived.message)}
        except Refused as refused:
            return {"error": refused.error}

    def answer_by_default(self, arrived: Arrived) -> None:
        """Do what a well-behaved server does with the message."""
        message = arrived.message
        if not arrived.is_request:
            return
        listens = message["method"] == "subscriptions/listen" and self.answers.is_modern(message)
        if listens and arrived.refusal is None:
            self.send(self.answers.subscribe(message))
        else:
            self.send(answer(arrived, self.default_body(arrived)), arrived)

    def take_answer(self, message: Json, text: str) -> None:
        """The client has answered a request of ours."""
        self.journal.write("answer", id=message["id"], text=text)
        if isinstance(message["id"], str | int):
            self.answered[message["id"]].set()

    def send(self, message: Any, arrived: Arrived = NOTHING) -> None:
        """Send one message, its placeholders filled."""
        self.output.write([line_of(message, arrived)])


def answer(arrived: Arrived, body: Json) -> Json:
    """The answer to the message with this `result` or `error`."""
    return {"jsonrpc": "2.0", "id": arrived.id, **body}


def line_of(message: Any, arrived: Arrived) -> bytes:
    """The bytes of a message, its placeholders filled."""
    text = encode(message)
    if '"$' in text:
        text = fill(text, arrived.id, slice_of(arrived.line, "params", "arguments") or "{}")
    return text.encode() + b"\n"


class Performance:
    """One run. `play` returns when the last action is done; actions that end the process do not return."""

    #: the actions after which the default answer is not sent any more
    answering = ANSWERING

    def __init__(self, stage: Stage, arrived: Arrived, actions: list[Action]) -> None:
        self._stage = stage
        self._arrived = arrived
        self._actions = actions

    def play(self) -> None:
        """Play all actions, then give the default answer unless one of them stands in its place."""
        for action in self._actions:
            name = action["do"]
            self._stage.journal.write("action", do=name, request=self._arrived.id)
            getattr(self, name)(**{key: value for key, value in action.items() if key != "do"})
        if not any(action["do"] in self.answering for action in self._actions):
            self._stage.answer_by_default(self._arrived)

    # Answers

    def reply(self, result: Json | None) -> None:
        if result is None:
            self._stage.answer_by_default(self._arrived)
        else:
            self._stage.send(answer(self._arrived, self._body(result)), self._arrived)

    def error(self, code: int, message: str, data: Any) -> None:
        refused = Refused(code, message, data)
        self._stage.send(answer(self._arrived, {"error": refused.error}), self._arrived)

    def silence(self) -> None:
        pass

    def send(self, message: Any) -> None:
        self._stage.send(message, self._arrived)

    def raw(self, text: str | None = None, base64: str | None = None) -> None:
        if text is not None:
            arguments = slice_of(self._arrived.line, "params", "arguments") or "{}"
            self._stage.output.write([fill(text, self._arrived.id, arguments).encode()])
        elif base64 is not None:
            from base64 import b64decode

            self._stage.output.write([b64decode(base64)])

    def reply_in_chunks(self, sizes: list[int], pause: float, result: Json | None) -> None:
        line = line_of(answer(self._arrived, self._body(result)), self._arrived)
        ends = [0, *itertools.accumulate(sizes), len(line)]
        pieces = [line[start:end] for start, end in itertools.pairwise(ends)]
        self._stage.output.write([piece for piece in pieces if piece], pause)

    def duplicate_reply(self) -> None:
        self._stage.answer_by_default(self._arrived)
        self._stage.answer_by_default(self._arrived)

    def wrong_id_reply(self, id: Any) -> None:
        wrong = {**answer(self._arrived, self._body(None)), "id": id}
        self._stage.send(wrong, self._arrived)

    def payload(self, size: int) -> None:
        result = {"content": [{"type": "text", "text": "x" * size}], "isError": False}
        self._stage.send(answer(self._arrived, self._body(result)), self._arrived)

    def unending(self, size: int) -> None:
        result = {"content": [{"type": "text", "text": "$text"}]}
        head, _, _ = line_of(answer(self._arrived, self._body(result)), self._arrived).partition(b"$text")
        self._stage.output.write([head + b"x" * size])

    def _body(self, result: Json | None) -> Json:
        if result is None:
            return self._stage.default_body(self._arrived)
        return {"result": self._stage.answers.completed(self._arrived.message, result)}

    # Waiting

    def sleep(self, seconds: float) -> None:
        self._wait(threading.Event(), seconds)

    def hold(self, name: str) -> None:
        self._wait(self._stage.released[name], None)

    def release(self, name: str) -> None:
        self._stage.released[name].set()

    def _wait(self, event: threading.Event, seconds: float | None) -> None:
        with self._stage.workload.waiting():
            event.wait(seconds)

    # Messages of the server's own

    def notify(self, method: str, params: Json | None) -> None:
        self._stage.send(_message(method, params), self._arrived)

    def request(self, method: str, params: Json | None, id: Any, wait: float | None) -> None:
        identity = next(self._stage.ids) if id is None else id
        self._stage.send({**_message(method, params), "id": identity}, self._arrived)
        if wait is not None:
            self._wait(self._stage.answered[identity], wait)

    def progress(self, value: float) -> None:
        token = meta_of(self._arrived.message).get("progressToken")
        if token is not None:
            self.notify("notifications/progress", {"progressToken": token, "progress": value})

    def set_tools(self, tools: list[Json]) -> None:
        self._stage.answers.tools = tools

    def set_prompts(self, prompts: list[Json]) -> None:
        self._stage.answers.prompts = prompts

    def list_changed(self, kind: str) -> None:
        for message in self._stage.answers.list_changed(kind):
            self._stage.send(message)

    def stderr(self, text: str = "", bytes: int = 0) -> None:
        whole, rest = divmod(bytes, len(_FILLER))
        for piece in [text.encode(), *itertools.repeat(_FILLER, whole), _FILLER[:rest]]:
            sys.stderr.buffer.write(piece)
        sys.stderr.buffer.flush()

    # What it uses up

    def allocate(self, size: int) -> None:
        self._stage.taken.append(bytearray(size))

    def compute(self, seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    # Ends

    def close_stdout(self) -> None:
        self._stage.output.close()

    def crash(self, code: int) -> None:
        self._stage.life.end(code, "crash")

    def kill_self(self, signal: int) -> None:
        self._stage.life.end_by_signal(signal)


def _message(method: str, params: Json | None) -> Json:
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}
