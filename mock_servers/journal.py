"""The journal of a mock: an append-only file of JSON lines that several threads and processes share.

Each entry is one `os.write` to a descriptor with O_APPEND. So entries of a mock and of its grandchildren never mix,
and a signal handler can write without a lock. Times are `time.monotonic()` seconds. On Linux and macOS all processes
share this clock, so the entries of two mocks can be compared.

Limits: the file must be on a local file system. The journal keeps every received message in full. It cuts a sent
message to `MAX_SENT` characters; the entry then holds the full size in `bytes`.
"""

import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

MAX_SENT = 65_536


@dataclass(frozen=True)
class Entry:
    """One event that a mock saw or caused.

    `t` is in monotonic seconds, and `pid` is the process that wrote the entry. `data` holds the rest. The events of every mock:

    - `start`, `eof`, `signal` and `exit`: the life of its process; `marker`: the end of its work after SIGTERM.
    - `line` and `sent`: what it received and sent; `answer`: a response to a request of its own; `receipt`: that of a call.
    - `action`: a step of a rule. Some actions write a further event: `terminal`, `killed` or `handed-over`.
    - `grandchild-start`, `grandchild-signal` and `grandchild-exit`: the life of a process that it forked.

    The docstrings of `mock_servers.remote`, `mock_servers.remote.oauth` and `mock_servers.browser` list the events of these parts.
    """

    t: float
    pid: int
    event: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The received or sent line; empty for other events, and for a line that is not UTF-8."""
        text = self.data.get("text", "")
        return text if isinstance(text, str) else ""

    @property
    def message(self) -> dict[str, Any] | None:
        """The JSON object in `text`; None if `text` is anything else."""
        try:
            message = json.loads(self.text)
        except ValueError:
            return None
        return message if isinstance(message, dict) else None


class Journal:
    """Writes entries; without a path, drops them."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        self._fd = None if path is None else os.open(path, flags, 0o600)

    @property
    def fd(self) -> int | None:
        """The descriptor of the file, which a report of the process's descriptors leaves out."""
        return self._fd

    def write(self, event: str, **data: Any) -> None:
        """Append one entry."""
        if self._fd is None:
            return
        entry = {"t": time.monotonic(), "pid": os.getpid(), "event": event, **data}
        os.write(self._fd, json.dumps(entry).encode() + b"\n")

    def write_start(self, args: list[str]) -> None:
        """Append the entry that describes this process; `args` are the arguments after `--`."""
        if self._fd is None:
            return
        pgid, sid = (os.getpgid(0), os.getsid(0)) if hasattr(os, "getsid") else (None, None)
        self.write(
            "start",
            ppid=os.getppid(),
            pgid=pgid,
            sid=sid,
            argv=sys.orig_argv,
            args=args,
            env=dict(os.environ),
            cwd=os.getcwd(),
            fds=_open_descriptors(without=self._fd),
            limits=resource_limits(),
        )

    def write_line(self, line: bytes) -> None:
        """Append a line from stdin."""
        self.write_received("line", line)

    def write_received(self, event: str, content: bytes, **data: Any) -> None:
        """Append received bytes exactly: as `text`, or as `base64` if they are not UTF-8."""
        try:
            self.write(event, **data, text=content.decode())
        except UnicodeDecodeError:
            from base64 import b64encode

            self.write(event, **data, base64=b64encode(content).decode())

    def write_sent(self, data: bytes, **more: Any) -> None:
        """Append outgoing bytes, cut to `MAX_SENT`. Call it before the bytes leave, so that the entry about the other
        side's reaction always comes later.
        """
        text = data[:MAX_SENT].decode(errors="replace").rstrip("\n")
        self.write("sent", **more, text=text, **({"bytes": len(data)} if len(data) > MAX_SENT else {}))


def read_journal(path: str | os.PathLike[str]) -> list[Entry]:
    """All complete entries so far, without a half-written last line. A missing file counts as an empty journal."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return []
    complete = content[: content.rfind(b"\n") + 1]
    return [_entry(json.loads(line)) for line in complete.split(b"\n") if line]


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(t=fields.pop("t"), pid=fields.pop("pid"), event=fields.pop("event"), data=fields)


def resource_limits() -> dict[str, tuple[int, int]]:
    """The soft and the hard limit of this process for each resource; empty on a system without setrlimit.

    The names are those of setrlimit, in lower case and without RLIMIT_.
    """
    try:
        import resource
    except ImportError:
        return {}
    names = [name for name in vars(resource) if name.startswith("RLIMIT_")]
    return {
        name.removeprefix("RLIMIT_").lower(): resource.getrlimit(getattr(resource, name)) for name in names
    }


def _open_descriptors(without: int) -> dict[str, str]:
    """The targets of this process's open descriptors, by number; empty if /proc does not exist."""
    targets = {}
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:
        return {}
    for number in numbers:
        if int(number) == without:
            continue
        try:
            targets[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # the descriptor that listdir itself opened
    return targets
