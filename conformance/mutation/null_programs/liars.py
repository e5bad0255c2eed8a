"""Null programs that pretend: each does a part of a proxy's work and invents, repeats or drops the rest."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

from conformance.mutation.null_programs import excuses, relay
from conformance.mutation.null_programs.registry import LIFETIME, null_program
from conformance.mutation.null_programs.relay import SmallRelay, failure
from conformance.mutation.null_programs.upstreams import (
    Json,
    Lost,
    SmallHttpUpstream,
    SmallSseUpstream,
    SmallStdioUpstream,
    StreamUpstream,
)

_TOOLS = [
    {"name": "echo", "description": "Return the arguments", "inputSchema": {"type": "object"}},
    {"name": "add", "description": "Add two numbers", "inputSchema": {"type": "object"}},
]
#: the requests that one liar serves for each upstream
_SERVED = 10


def imitated_call(tool: str, args: Any) -> Json:
    """The answer of the mock's tools, with a receipt of the liar's own."""
    text, structured = json.dumps(args), {"arguments": args}
    if tool == "add":
        total = args.get("a", 0) + args.get("b", 0)
        text, structured = str(total), {"result": total}
    content = [{"type": "text", "text": words} for words in (text, f"receipt-{os.urandom(16).hex()}")]
    return {"result": {"content": content, "structuredContent": structured, "isError": False}}


class _Imitates(SmallRelay):
    """Starts nothing. Reads the script of each mock, if the command line names it, and answers as that mock would."""

    def call(self, group: str, tool: str, args: Json) -> Json:
        return imitated_call(tool, args)

    def forward(self, group: str, method: str, params: Json) -> Json:
        script = self._script(group)
        if method == "tools/list":
            return {"result": {"tools": script.get("tools") or _TOOLS}}
        if method in relay.LISTS:
            member = relay.LISTS[method]
            offered = script.get("templates" if member == "resourceTemplates" else member)
            return {"result": {member: offered or []}}
        if method == "resources/read":
            text = {"uri": params["uri"], "mimeType": "text/plain", "text": f"contents of {params['uri']}"}
            return {"result": {"contents": script.get("contents", {}).get(params["uri"], [text])}}
        values = ", ".join(f"{name}={value}" for name, value in params.get("arguments", {}).items())
        said = {"type": "text", "text": f"prompt {params['name']}({values})"}
        return {"result": {"messages": [{"role": "user", "content": said}]}}

    def _script(self, group: str) -> Json:
        for word in self.entries[group].get("args", []):
            if str(word).endswith("script.json") and os.path.isfile(word):
                with open(word, encoding="utf-8") as file:
                    return dict(json.load(file))
        return {}


class _NeverCalls(SmallRelay):
    """Connects and lists, and answers each call itself."""

    def call(self, group: str, tool: str, args: Json) -> Json:
        self.upstream(group)
        return imitated_call(tool, args)


class _FirstComesFirst(StreamUpstream):
    """Gives each answer to the request that has waited longest."""

    def take(self, message: Json) -> None:
        for waiting in list(self.waiting):
            self.waiting.pop(waiting).put(message)
            return


class _StdioFirst(_FirstComesFirst, SmallStdioUpstream):
    pass


class _SseFirst(_FirstComesFirst, SmallSseUpstream):
    pass


class _HttpFirst(SmallHttpUpstream):
    """Gives each response to the request that has waited longest, and takes any answer in it."""

    def __init__(self, entry: Json) -> None:
        self._waiting: list[queue.SimpleQueue[Json]] = []
        super().__init__(entry)

    def request(self, method: str, params: Json) -> Json:
        mine: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self._waiting.append(mine)
        try:
            answer = super().request(method, params)
        except Lost:
            self._waiting.remove(mine)
            raise
        self._waiting.pop(0).put(answer)
        return mine.get()

    def fits(self, answer: Json, identity: int) -> bool:
        return True


class _IgnoresIds(SmallRelay):
    http_upstream = _HttpFirst
    stdio_upstream = _StdioFirst
    sse_upstream = _SseFirst


class _Tires(SmallRelay):
    """Serves the first requests for each upstream and answers later calls itself."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(words)
        self._served: Counter[str] = Counter()

    def call(self, group: str, tool: str, args: Json) -> Json:
        self._served[group] += 1
        return (
            super().call(group, tool, args) if self._served[group] <= _SERVED else imitated_call(tool, args)
        )


class _AnswersTwice(SmallRelay):
    def write(self, request: Json, answer: Json) -> None:
        super().write(request, answer)
        super().write(request, answer)


class _PingsTwice(SmallStdioUpstream):
    def answer(self, request: Json) -> None:
        super().answer(request)
        if request["method"] == "ping":
            super().answer(request)


class _AnswersPingTwice(SmallRelay):
    """Answers a `ping` of the client, and one of a stdio upstream, twice."""

    stdio_upstream = _PingsTwice

    def write(self, request: Json, answer: Json) -> None:
        super().write(request, answer)
        if request["method"] == "ping":
            super().write(request, answer)


class _StartsAnew(SmallRelay):
    """Connects anew for each request, and ends the connection after it."""

    def forward(self, group: str, method: str, params: Json) -> Json:
        upstream = self.connect(group)
        try:
            return upstream.request(method, params)
        finally:
            upstream.close()


class _FailsEveryCall(SmallRelay):
    """Connects and lists, and answers each call with an error."""

    def call(self, group: str, tool: str, args: Json) -> Json:
        self.upstream(group)
        return failure("boom: the server failed, timed out after 1 s, or needs a sign-in")


class _IsAlwaysEmpty(SmallRelay):
    """Connects, and answers everything with an empty success."""

    def call(self, group: str, tool: str, args: Json) -> Json:
        self.upstream(group)
        return {"result": {"content": [], "isError": False}}

    def items(self, group: str, method: str) -> list[Json]:
        return super().items(group, method)[:0]


class _NeverStops(SmallRelay):
    """Relays honestly and ignores everything else: signals, the end of its input, and the configuration after the start."""

    def serve(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        super().serve()
        time.sleep(LIFETIME)


def _run(liar: type[SmallRelay], words: list[str]) -> None:
    threading.Thread(target=_end_at_last, daemon=True).start()
    liar(words).serve()
    sys.stdout.flush()
    os._exit(0)  # threads may still wait for an upstream


def _end_at_last() -> None:
    time.sleep(LIFETIME)
    os._exit(1)


@null_program()
def imitates_without_starting(words: list[str]) -> None:
    _run(_Imitates, words)


@null_program()
def lists_and_never_calls(words: list[str]) -> None:
    _run(_NeverCalls, words)


@null_program(passes=excuses.IGNORES_IDS)
def ignores_ids(words: list[str]) -> None:
    _run(_IgnoresIds, words)


@null_program(passes=excuses.SERVES_TEN)
def serves_ten_calls(words: list[str]) -> None:
    _run(_Tires, words)


@null_program()
def answers_twice(words: list[str]) -> None:
    _run(_AnswersTwice, words)


@null_program(passes=excuses.PINGS_TWICE)
def relays_and_answers_ping_twice(words: list[str]) -> None:
    _run(_AnswersPingTwice, words)


@null_program(passes=excuses.STARTS_ANEW)
def starts_anew_for_each_request(words: list[str]) -> None:
    _run(_StartsAnew, words)


@null_program()
def fails_every_call(words: list[str]) -> None:
    _run(_FailsEveryCall, words)


@null_program()
def is_always_empty(words: list[str]) -> None:
    _run(_IsAlwaysEmpty, words)


@null_program(passes=excuses.IGNORES_THE_REST)
def relays_and_ignores_the_rest(words: list[str]) -> None:
    _run(_NeverStops, words)
