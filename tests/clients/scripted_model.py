"""A model on loopback that follows a script, so that an agent needs no account.

It speaks the HTTP of Anthropic, of Gemini, and both of OpenAI (chat completions and responses), each with and without a stream. The model
keeps no state between requests: the number of tool results in a conversation decides which step of the script comes next. A request
without tools, such as one for the title of a conversation, gets a short text.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from .dialects import Answer, Request, dialect_of

#: what the model says when its script is done
FINISHED = "The script is finished."


@dataclass(frozen=True)
class Step:
    """One call of a tool by the model. A client may put a prefix before the name of the tool."""

    tool: str
    arguments: dict[str, Any]


@dataclass
class ScriptedModel:
    """The model, and what it saw."""

    script: list[Step]
    url: str = ""
    #: the requests that declared tools, in order
    requests: list[Request] = field(default_factory=list)
    #: the last of them as it arrived, as JSON
    conversation: str = ""
    #: a request that no step of the script fits
    problems: list[str] = field(default_factory=list)

    @property
    def tools(self) -> dict[str, Any]:
        """The parameters of each tool that the last request declared, by its name."""
        return self.requests[-1].tools

    @property
    def results(self) -> list[str]:
        """The tool results in the longest conversation, as the model saw them."""
        return max((request.results for request in self.requests), key=len, default=[])

    @property
    def system(self) -> str:
        """The system prompt of the last request."""
        return self.requests[-1].system

    def answer(self, request: Request) -> Answer:
        if not request.tools:
            return Answer("A title")
        self.requests.append(request)
        done = len(request.results)
        if done >= len(self.script):
            # smolagents gives its model a tool for the last word.
            last = {"answer": FINISHED}
            return (
                Answer("", "call_last", "final_answer", last)
                if "final_answer" in request.tools
                else Answer(FINISHED)
            )
        step = self.script[done]
        names = [name for name in request.tools if name.endswith(step.tool)]
        if len(names) != 1:
            self.problems.append(f"{step.tool} is {len(names)} times among {sorted(request.tools)}")
            return Answer(FINISHED)
        # A model fills in every required member, also where a client's strict schema makes all of them required.
        required = (request.tools[names[0]] or {}).get("required") or ()
        arguments = dict.fromkeys(required, "") | step.arguments
        return Answer("", f"call_{done}", names[0], arguments, request.namespaces.get(names[0]))


@contextmanager
def scripted_model(script: list[Step]) -> Iterator[ScriptedModel]:
    """A running model. Its `url` is the root of every dialect."""
    model = ScriptedModel(script)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, "application/json", b'{"data": [], "models": []}')

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = urlsplit(self.path).path
            dialect = dialect_of(path)
            if dialect is None:
                self._send(200, "application/json", b'{"input_tokens": 1, "totalTokens": 1}')
                return
            message = json.loads(body)
            request = dialect.read(message)
            if request.tools:
                model.conversation = json.dumps(message)
            answer = model.answer(request)
            if message.get("stream") or ":stream" in path:
                events = "".join(dialect.events(answer))
                self._send(200, "text/event-stream", events.encode())
            else:
                self._send(200, "application/json", json.dumps(dialect.answer(answer)).encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the requests are in the model."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield model
        finally:
            server.shutdown()
            thread.join()
