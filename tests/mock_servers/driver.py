"""Drives a stdio mock line by line, as a process. Every wait has a deadline."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mock_servers.answers import CAPABILITIES_KEY, MODERN_VERSION, VERSION_KEY
from mock_servers.commands import MAIN
from mock_servers.journal import Entry, read_journal
from mock_servers.processes import alive
from mock_servers.script import Script

WITHIN = 10.0
COMMAND = [sys.executable, "-I", "-S", str(MAIN), "stdio"]
ENVELOPE = {"_meta": {VERSION_KEY: MODERN_VERSION, CAPABILITIES_KEY: {}}}

Json = dict[str, Any]


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Poll until the condition is true, and return its value."""
    end = time.monotonic() + WITHIN
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {WITHIN} s: {what}"
        time.sleep(0.01)
    return value


class MockDriver:
    """One running mock."""

    def __init__(self, process: "subprocess.Popen[bytes]", journal: Path) -> None:
        self.process = process
        self._journal = journal
        self._ids = iter(range(1, 10_000))
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def write(self, data: bytes) -> None:
        """Write bytes to its stdin."""
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message: Any) -> None:
        """Write one message to its stdin."""
        self.write(json.dumps(message).encode() + b"\n")

    def start(self, method: str, params: Json | None = None) -> int:
        """Send a request and return its id."""
        identity = next(self._ids)
        message = {"jsonrpc": "2.0", "id": identity, "method": method}
        self.send(message if params is None else {**message, "params": params})
        return identity

    def line(self) -> bytes:
        """The next line of its stdout; empty at the end."""
        return self._lines.get(timeout=WITHIN)

    def next(self) -> Json:
        """The next message."""
        message = json.loads(self.line())
        assert isinstance(message, dict)
        return message

    def ask(self, method: str, params: Json | None = None) -> Json:
        """Send a request and return its answer, which must be the next message."""
        identity = self.start(method, params)
        message = self.next()
        assert message.get("id") == identity, message
        return message

    def call(self, tool: str = "echo", **arguments: Any) -> Json:
        """Call a tool and return the answer, which must be the next message."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def ask_modern(self, method: str, **params: Any) -> Json:
        """Send a request with the modern envelope and return its answer, which must be the next message."""
        return self.ask(method, {**params, **ENVELOPE})

    def close_stdin(self) -> None:
        """Close its stdin."""
        assert self.process.stdin
        self.process.stdin.close()

    def exit_code(self) -> int:
        """Wait for its end and return the exit status."""
        return self.process.wait(WITHIN)

    def events(self, *names: str) -> list[Entry]:
        """The journal entries so far; with names, only those of these events."""
        return [entry for entry in read_journal(self._journal) if not names or entry.event in names]

    def event(self, name: str) -> Entry:
        """Wait for an entry of this event and return the first one."""
        entry = eventually(lambda: self.events(name), f"a journal entry {name}")[0]
        assert isinstance(entry, Entry)
        return entry


@contextmanager
def running(
    folder: Path, script: Script | None = None, *options: str, command: list[str] = COMMAND, **popen: Any
) -> Iterator[MockDriver]:
    """Run a mock. The end of the block kills it and all its grandchildren."""
    journal = folder / "journal.jsonl"
    args = [*command, "--journal", str(journal), "--max-life", "60"]
    if script is not None:
        args += ["--script", str(script.save(folder / "script.json"))]
    pipe = subprocess.PIPE
    popen.setdefault("stderr", subprocess.DEVNULL)
    with subprocess.Popen([*args, *options], stdin=pipe, stdout=pipe, **popen) as process:
        mock = MockDriver(process, journal)
        try:
            yield mock
        finally:
            process.kill()
            for entry in read_journal(journal):
                if entry.event == "grandchild-start" and is_alive(entry.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(entry.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                mock.close_stdin()
            mock.reader.join(WITHIN)


def is_alive(pid: int) -> bool:
    """Whether this pid is a mock that runs; a zombie does not count."""
    return bool(alive([pid], str(MAIN)))
