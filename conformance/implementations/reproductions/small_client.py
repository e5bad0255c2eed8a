"""A small MCP client for a program on stdin and stdout. It needs only the standard library.

Every wait has an end: a method returns None if the program sends nothing in time. `Program` ends its own process group.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Message = dict[str, Any]


def command_of(name: str) -> list[str]:
    """The words of the proxy's command: the arguments of this program, else the program `name` on PATH.

    Ends with status 2 if there is neither.
    """
    found = sys.argv[1:] or [shutil.which(name) or ""]
    if found == [""]:
        print(f"{name} is not on PATH. Install it, or give its command as arguments.", file=sys.stderr)
        raise SystemExit(2)
    return found


def report(reproduced: bool, seen: object) -> None:
    """Print the one line of a reproduction."""
    print(f"{'reproduced' if reproduced else 'not reproduced'}: {seen}")


def without_browser() -> dict[str, str]:
    """The environment of a program that opens no page, because each opener that it finds does nothing."""
    folder = new_folder()
    for name in ("xdg-open", "open", "browser"):
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "BROWSER": str(folder / "browser"), "DISPLAY": ":99"}


def new_folder() -> Path:
    """A folder of this program's own, which its end removes."""
    folder = Path(tempfile.mkdtemp(prefix="reproduction-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return not Path("/proc/self").exists()
    return False


class Program:
    """A running proxy. Use it as a context manager; the end kills what is left of its process group.

    Its HOME is a new folder, so it finds and leaves nothing in that of the user.
    """

    def __init__(self, command: list[str], env: Mapping[str, str] | None = None) -> None:
        self.messages: list[Message] = []
        #: Lines on stdout that are no messages.
        self.junk: list[str] = []
        self._arrived = threading.Condition()
        self._has_ended = False
        self._ids = iter(range(1, 10_000))
        # A file, not a pipe: a program that writes much to stderr must not wait for a reader.
        self._stderr = new_folder() / "stderr"
        home = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
                env={**home, "HOME": str(new_folder()), **(env or {})},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)
        self._reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe and pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                self.junk.append(line)
                continue
            with self._arrived:
                self.messages.append(message)
                self._arrived.notify_all()
        with self._arrived:
            self._has_ended = True
            self._arrived.notify_all()

    def send(self, method: str, params: Message | None = None, *, id: int | str | None = None) -> None:
        """Send a request, or without an id a notification. A program that has ended reads nothing."""
        message: Message = {"jsonrpc": "2.0", "method": method}
        if id is not None:
            message["id"] = id
        if params is not None:
            message["params"] = params
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def wait(self, condition: Callable[[Message], bool], within: float) -> Message | None:
        """The first message from the program that fulfils the condition; None after `within` seconds, or at the end of its stdout."""

        def found() -> Message | None:
            return next((message for message in self.messages if condition(message)), None)

        with self._arrived:
            self._arrived.wait_for(lambda: self._has_ended or found() is not None, within)
            return found()

    def answer(self, id: int | str, within: float = 10.0) -> Message | None:
        return self.wait(lambda message: message.get("id") == id and "method" not in message, within)

    def request(self, method: str, params: Message | None = None, within: float = 10.0) -> Message | None:
        """Send a request and return its answer; None if none arrives within `within` seconds."""
        id = next(self._ids)
        self.send(method, params, id=id)
        return self.answer(id, within)

    def call(self, tool: str, arguments: Message | None = None, within: float = 10.0) -> Message | None:
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, within)

    def handshake(self, version: str = "2025-06-18", within: float = 30.0) -> Message:
        """Do the handshake; SystemExit if the program does not answer it."""
        params = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "reproduction", "version": "1"},
        }
        answer = self.request("initialize", params, within)
        if answer is None or "result" not in answer:
            raise SystemExit(f"cannot tell: initialize was answered with {answer}\n{self.stderr()}")
        self.send("notifications/initialized")
        result: Message = answer["result"]
        return result

    def begin_handshake(self) -> None:
        """Send `initialize` and do not wait, for a program that signs in before it answers."""
        info = {"name": "reproduction", "version": "1"}
        self.send(
            "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}, id=0
        )

    def respond(self, id: int | str, result: Message) -> None:
        """Answer a request of the program."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}) + "\n")
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ended(self, within: float) -> bool:
        """Whether the process ends within `within` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(within)
        return self.process.returncode is not None

    def stderr(self) -> str:
        """The end of what the program wrote to stderr so far."""
        return self._stderr.read_text(errors="replace")[-3000:]


def eventually(condition: Callable[[], bool], within: float) -> bool:
    """Whether the condition becomes true within `within` seconds."""
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def text_of(answer: Message | None) -> str:
    """The text of a tool's result, or the error, or `no answer`."""
    if answer is None:
        return "no answer"
    content = answer.get("result", {}).get("content") or [{}]
    return str(content[0].get("text") or answer.get("error") or answer.get("result"))
