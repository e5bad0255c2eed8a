"""A client that costs as little as possible: whole batches of lines out, answers counted as they come in."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any

from conformance.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_PATIENCE = 30.0


class BenchClient:
    """A started proxy, with the handshake done when its context is entered."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], tool: str) -> None:
        self.started = time.perf_counter()
        self._tool = tool
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            bufsize=0,
        )
        self._rest = b""
        self._last_id = 0

    def __enter__(self) -> BenchClient:
        params = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "b", "version": "1"},
        }
        self.ask("initialize", params)
        self._write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        self._write(self._line(method, params))
        answer: dict[str, Any] = json.loads(self._read(1)[0])
        return answer

    def until_listed(self, group: str) -> None:
        """Wait until the group's tools are shown."""
        deadline = time.monotonic() + _PATIENCE
        arguments = {"name": "get_dynamic_tools", "arguments": {"group": group}}
        while '"echo' not in json.dumps(self.ask("tools/call", arguments)).replace("\\", ""):
            if time.monotonic() > deadline:
                raise HarnessError(f"group {group} is not usable within {_PATIENCE:g} s")
            time.sleep(0.02)

    def calls(self, group: str, count: int) -> float:
        """Send so many calls of `echo` at once; seconds until the last answer."""
        params = {
            "name": self._tool,
            "arguments": {"group": group, "name": "echo", "args": {"text": "hello"}},
        }
        lines = b"".join(self._line("tools/call", params) for _ in range(count))
        begin = time.perf_counter()
        self._write(lines)
        answers = self._read(count)
        seconds = time.perf_counter() - begin
        failed = [line for line in answers if b"hello" not in line]
        if failed:
            raise HarnessError(f"{len(failed)} of {count} calls failed, the first: {failed[0][:200]!r}")
        return seconds

    def _line(self, method: str, params: Mapping[str, Any]) -> bytes:
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        return json.dumps(message).encode() + b"\n"

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[os.write(self._process.stdin.fileno(), view) :]

    def _read(self, count: int) -> list[bytes]:
        """So many answers; notifications are not counted."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        found: list[bytes] = []
        while len(found) < count:
            if not select.select([descriptor], [], [], _PATIENCE)[0]:
                raise HarnessError(f"{count - len(found)} of {count} answers did not come in {_PATIENCE:g} s")
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                raise HarnessError("the implementation ended while it was measured")
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            found += [line for line in lines if b'"id"' in line]
        return found
