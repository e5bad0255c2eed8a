"""The proxy as a process, spoken to by hand: for tests that are about bytes, memory and readers that do not read."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mock_servers.script import Script

ROOT = Path(__file__).resolve().parents[1]
WITHIN = 30.0


class Wire:
    """A running proxy in front of scripted servers. A context manager; nothing of it is left afterwards."""

    def __init__(
        self,
        folder: Path,
        *,
        timeout: str = "30s",
        remotes: Mapping[str, str] | None = None,
        address_space: int | None = None,
        max_answer_size: str | None = None,
        **scripts: Script,
    ) -> None:
        """``remotes`` are servers behind these URLs. ``address_space`` limits the memory of the proxy, in bytes (``ulimit -v``).

        ``max_answer_size`` is the setting of the configuration.
        """
        #: the servers of the configuration, to be changed and saved
        self.servers: dict[str, dict[str, Any]] = {}
        for name, script in scripts.items():
            script.save(folder / f"{name}.json")
            mock = str(ROOT / "mock_servers" / "__main__.py")
            options = ["--script", str(folder / f"{name}.json"), "--journal", str(folder / f"{name}.journal")]
            self.servers[name] = {
                "description": name,
                "command": sys.executable,
                "args": ["-I", "-S", mock, "stdio", *options],
                "timeout": {"tools": timeout},
            }
        for name, url in (remotes or {}).items():
            self.servers[name] = {"description": name, "url": url, "timeout": {"tools": timeout}}
        self._settings = {} if max_answer_size is None else {"max_answer_size": max_answer_size}
        self._config = folder / "config.json"
        self.save()
        self.process = subprocess.Popen(
            [
                *(_limited(address_space) if address_space is not None else ()),
                *(sys.executable, "-m", "dynamic_mcp", "--log-level", "off", str(self._config)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            bufsize=0,
        )
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(WITHIN)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def save(self) -> None:
        """Write the configuration with what ``servers`` holds now."""
        self._config.write_text(json.dumps({"mcpServers": self.servers, **self._settings}))

    def write(self, data: bytes, within: float = WITHIN) -> int:
        """Write what the proxy reads within the time; the number of bytes that it took."""
        assert self.process.stdin is not None
        descriptor, done, end = self.process.stdin.fileno(), 0, time.monotonic() + within
        os.set_blocking(descriptor, False)
        while done < len(data):
            if not select.select([], [descriptor], [], max(0.0, end - time.monotonic()))[1]:
                return done
            done += os.write(descriptor, data[done : done + 65536])
        return done

    def send_call(self, id: int, group: str, args: Any = None, tool: str = "echo") -> None:
        """Send ``tools/call`` for one tool of a group."""
        arguments = {"group": group, "name": tool, "args": args or {}}
        params = {"name": "call_dynamic_tool", "arguments": arguments}
        line = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
        assert self.write(line + b"\n") == len(line) + 1

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        line = json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()
        assert self.write(line + b"\n") == len(line) + 1

    def receive(self, within: float = WITHIN) -> dict[str, Any]:
        """The next message from the proxy."""
        message = self.receive_if_any(within)
        assert message is not None, f"nothing within {within} s"
        return message

    def receive_if_any(self, within: float = 0.0) -> dict[str, Any] | None:
        """The next message, or None when none is complete within the time."""
        assert self.process.stdout is not None
        end = time.monotonic() + within
        chunks = [self._buffer]
        while b"\n" not in chunks[-1]:
            if not select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                self._buffer = b"".join(chunks)
                return None
            chunks.append(os.read(self.process.stdout.fileno(), 1 << 20))
            assert chunks[-1], "the proxy closed its stdout"
        line, _, self._buffer = b"".join(chunks).partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def call(self, id: int, group: str, args: Any = None, tool: str = "echo") -> dict[str, Any]:
        """Send a call and return its answer, which must be the next message."""
        self.send_call(id, group, args, tool)
        answer = self.receive()
        assert answer["id"] == id
        return answer

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes of memory that the proxy holds (VmRSS), or held at most (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) * 1024


def _limited(address_space: int) -> tuple[str, ...]:
    """The beginning of a command that runs with a limit of its address space. The shell becomes the program."""
    return "/bin/sh", "-c", f'ulimit -v {address_space // 1024}; exec "$@"', "sh"
