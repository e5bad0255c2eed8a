"""Where a serving process listens, and what it is for.

The name of the socket is a digest of what two sessions must have in common to share servers. That is the path of the configuration, the
version of the proxy, the user, and the values of the variables that the configuration uses. So a session with another value gets another
serving process. The folder belongs to the user alone (mode 0700), and both ends check the user of the other one where the system tells it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynamic_mcp import __version__, files
from dynamic_mcp.config.expand import REFERENCE
from dynamic_mcp.errors import ConfigError

#: Seconds for one step of the greeting.
GREETING = 10.0
#: Bytes of a greeting, and of its answer.
MAX_GREETING = 1 << 16
MAX_REPORT = 16 << 20
#: The longest path of a socket that every system accepts, without the zero at its end.
_MAX_PATH = 103
_NAME_LENGTH = 16


class NoProcess(Exception):
    """Nothing listens at the socket."""


class NotServed(Exception):
    """The other end does not serve; the text says why."""


class Place:
    """The files of one serving process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.socket = folder / f"{name}.sock"
        self.log = folder / f"{name}.log"
        self._lock = folder / f"{name}.lock"

    def lock(self, seconds: float) -> int | None:
        """Take the lock of an election; its descriptor, which a child can inherit. None if it is not free in time.

        Raises ConfigError if its file cannot be used.
        """
        end = time.monotonic() + seconds
        descriptor = _open(self._lock, os.O_RDWR | os.O_CREAT)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)
            else:
                return descriptor

    def open_log(self, max_size: int) -> int:
        """Open the log to append to it; its descriptor. A log of more than ``max_size`` bytes begins anew. Raises ConfigError."""
        descriptor = _open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if os.fstat(descriptor).st_size > max_size:
            os.ftruncate(descriptor, 0)
        return descriptor

    def listen(self) -> socket.socket:
        """A socket with the name of this place. Only for the holder of the lock. Raises ConfigError."""
        result = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # No process has the lock besides this one, so an old file belongs to no process.
            self.socket.unlink(missing_ok=True)
            result.bind(str(self.socket))
            os.chmod(self.socket, 0o600)
            return result
        except OSError as error:
            result.close()
            raise _unusable(self.socket, error) from None

    def connect(
        self, greeting: Mapping[str, object], limit: int = MAX_GREETING, seconds: float = GREETING
    ) -> tuple[socket.socket, dict[str, Any]]:
        """Greet the serving process; the connection, and its answer.

        Raises NoProcess without one, NotServed, TimeoutError, and OSError for a process that ends at the moment.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            _connect(connection, str(self.socket))
            check_user(connection)
            connection.sendall(json.dumps(greeting).encode() + b"\n")
            answer = json.loads(_read_line(connection, limit))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            raise NoProcess from None
        except ValueError:
            connection.close()
            raise NotServed("its answer cannot be read") from None
        except BaseException:
            connection.close()
            raise
        if not isinstance(answer, dict) or "refused" in answer:
            connection.close()
            raise NotServed(
                str(answer.get("refused")) if isinstance(answer, dict) else "its answer is no object"
            )
        connection.settimeout(None)
        return connection, answer


def place_of(path: Path, environment: Mapping[str, str]) -> Place:
    """The place for a configuration in this environment. Raises ConfigError if the file or the folder cannot be used."""
    try:
        content = files.read(path, files.MAX_CONFIG, follow=True).decode(errors="replace")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    used = {name: environment.get(name) for name in REFERENCE.findall(content)}
    parts = [os.path.realpath(path), __version__, os.geteuid(), sorted(used.items())]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_NAME_LENGTH]
    return Place(own_folder(environment), name)


def all_places(environment: Mapping[str, str]) -> Iterator[Place]:
    """The places of all serving processes of this user."""
    folder = own_folder(environment)
    for found in sorted(folder.glob("*.sock")):
        yield Place(folder, found.stem)


def own_folder(environment: Mapping[str, str]) -> Path:
    """The private folder for sockets, which exists afterwards. Raises ConfigError if it is not private."""
    folder = _folder(environment)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(folder, error) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{folder}: --share needs this folder, and other users may reach it; remove it, or make it yours with mode 0700"
        )
    return folder


def _folder(environment: Mapping[str, str]) -> Path:
    """Where the private folder is. Another user's runtime folder, which ``su`` leaves in the environment, is not used."""
    own_name = f"dynamic-mcp-{os.geteuid()}"
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _is_mine(runtime):
        folder = Path(runtime) / "dynamic-mcp"
        if _is_short(folder):
            return folder
    folder = Path(tempfile.gettempdir()) / own_name
    return folder if _is_short(folder) else Path("/tmp") / own_name  # noqa: S108  # a private folder in it


def _is_mine(folder: str) -> bool:
    try:
        found = os.stat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _is_short(folder: Path) -> bool:
    """Whether the path of a socket in this folder fits into the address of a socket."""
    return len(os.fsencode(folder)) + _NAME_LENGTH + len("/.sock") <= _MAX_PATH


def _open(path: Path, flags: int) -> int:
    """Open a file of the private folder; its descriptor. Raises ConfigError."""
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path}: --share cannot use this path: {error.strerror or error}; correct that, or start without --share"
    )


def check_user(connection: socket.socket) -> None:
    """Raises NotServed if the other end runs as another user, as far as the system tells."""
    if (user := user_of(connection)) not in (None, os.geteuid()):
        raise NotServed(f"it runs as another user (uid {user})")


def user_of(connection: socket.socket) -> int | None:
    """The user of the other end; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    layout = struct.Struct("3i")
    _, user, _ = layout.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return int(user)


def _connect(connection: socket.socket, path: str) -> None:
    """Connect within ``GREETING`` seconds, also to a process that has many connections to accept. Raises OSError."""
    end = time.monotonic() + GREETING
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise TimeoutError("it accepts no connection") from None
            time.sleep(0.01)


def _read_line(connection: socket.socket, limit: int) -> bytes:
    """The first line, read byte by byte at its end so that nothing after it is lost. Raises OSError and ValueError."""
    line = bytearray()
    while True:
        seen = connection.recv(1 << 16, socket.MSG_PEEK)
        if not seen:
            raise ConnectionResetError("the connection ended")
        end = seen.find(b"\n")
        line += connection.recv(len(seen) if end < 0 else end + 1)
        if end >= 0:
            return bytes(line)
        if len(line) > limit:
            raise ValueError("the line is too long")
