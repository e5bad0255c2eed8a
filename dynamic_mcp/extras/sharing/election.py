"""Finds the serving process of a configuration, or starts it. Of several starts at the same moment, one starts the process.

The starter holds a lock while it looks for a serving process, forks one and waits until that listens. The new process holds the lock too
until then, so nothing changes if the starter dies. A pipe tells the starter that the process listens, and the process whether the starter
died before it connected. A fork keeps what the starter has imported already, so the start is quick; this works because the starter has one
thread only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.sharing.place import MAX_REPORT, NoProcess, NotServed, Place, all_places, place_of
from dynamic_mcp.log import log

#: Seconds until a new serving process listens, and in which one of several starts is over.
START = 30.0
#: Seconds for the answer of a serving process that may have this configuration now.
_MOVE = 1.0
#: Attempts to reach a serving process, of which each one is killed or ends at the same moment.
_ATTEMPTS = 5
_READY = b"ready\n"
#: Bytes of the log, after which it begins anew.
MAX_LOG = 1 << 20

#: Serves at a place until no client is left; the exit status. It calls the function once it listens. The result is the descriptor of a pipe
#: whose other end the starter closes once it has connected, or dies.
Serve = Callable[[Place, Callable[[], int]], int]


class Election:
    """The ways to a serving process of one configuration."""

    def __init__(self, path: Path, serve: Serve) -> None:
        #: of the configuration at the last ``join``
        self._place: Place
        self._path = path
        self._serve = serve
        #: the end of the starter of a pipe to the process that it has started and not connected to yet
        self._started: int | None = None

    @property
    def log(self) -> Path:
        """The log of the serving process."""
        return self._place.log

    def join(self) -> socket.socket:
        """A connection to the serving process, which may be new. Raises ConfigError if there is none.

        Each time it finds the place anew, because the file can have other variables, or a link another target.
        """
        self._place = place_of(self._path, os.environ)
        try:
            return self._join()
        finally:
            self._let_go()

    def _join(self) -> socket.socket:
        for _ in range(_ATTEMPTS):
            connection = self._try(lambda: self._place.connect(_greeting())[0])
            if connection is not None:
                return connection
            if problem := self._start():
                raise ConfigError(f"{self._path}: no serving process could be started: {problem}")
        raise ConfigError(
            f"{self._path}: {_ATTEMPTS} attempts to reach a serving process failed, because it ended each time; see {self._place.log}"
        )

    def _try(self, connect: Callable[[], socket.socket]) -> socket.socket | None:
        """A connection; None without a process that stays. Raises ConfigError."""
        try:
            return connect()
        except NotServed as refusal:
            problem = f"refuses this session: {refusal}"
        except TimeoutError:
            problem = f"does not answer at {self._place.socket}; end that process, or start without --share"
        except (NoProcess, OSError):
            return None
        raise ConfigError(f"{self._path}: the serving process {problem}")

    def _start(self) -> str:
        """Start a serving process unless there is one now. Returns why that failed, or "" if another attempt makes sense."""
        lock = self._place.lock(START)
        if lock is None:
            return f"another start has not ended within {START:g} s"
        try:
            if self._is_served() or self._is_served_elsewhere():
                return ""
            return self._fork(lock)
        finally:
            os.close(lock)

    def _is_served(self) -> bool:
        """Whether a process listens, or has just stopped to."""
        try:
            connection, _ = self._place.connect({"want": "status"}, MAX_REPORT)
        except NoProcess:
            return False
        except (OSError, NotServed):
            return True
        connection.close()
        return True

    def _is_served_elsewhere(self) -> bool:
        """Whether a process that has loaded this configuration since it started has moved its socket here."""
        for other in all_places(os.environ):
            try:
                connection, answer = other.connect({"want": "move", "to": self._place.name}, seconds=_MOVE)
            except (NoProcess, NotServed, OSError):
                continue
            connection.close()
            if answer.get("moved") is True:
                return True
        return False

    def _fork(self, lock: int) -> str:
        readable, writable = os.pipe()
        if sys.stderr is not None:
            sys.stderr.flush()
        if os.fork() == 0:
            os.close(readable)
            self._run(lock, writable)
        os.close(writable)
        self._let_go()
        self._started = readable
        return self._wait_ready(readable)

    def _let_go(self) -> None:
        """Let a process that this one has started end without a client."""
        started, self._started = self._started, None
        if started is not None:
            os.close(started)

    def _wait_ready(self, readable: int) -> str:
        """Wait until a new serving process listens. Returns why it does not, or "" if it does or was killed."""
        said = b""
        while True:
            if not select.select([readable], [], [], START)[0]:
                return f"it did not listen within {START:g} s; see {self._place.log}"
            data = os.read(readable, 4096)
            said += data
            if said == _READY:
                return ""
            if not data:
                log.debug("the serving process ended before it listened")
                return said.decode(errors="replace").strip()

    def _run(self, lock: int, ready: int) -> None:
        """Be the serving process. Never returns."""
        status = 1

        def on_listening() -> int:
            _tell(ready, _READY)
            os.close(lock)
            return ready

        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._leave_streams()
            _close_others({lock, ready})
            os.chdir(os.path.dirname(os.path.realpath(self._path)))
            status = self._serve(self._place, on_listening)
        except ConfigError as error:
            _tell(ready, str(error).encode(errors="replace"))
            status = 2
        except BaseException as error:
            _tell(ready, f"{type(error).__name__}; see {self._place.log}".encode())
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _leave_streams(self) -> None:
        """Leave the streams of the client. Messages go to the log beside the socket."""
        null = os.open(os.devnull, os.O_RDWR)
        output = self._place.open_log(MAX_LOG)
        for descriptor, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, target)
        for descriptor in {null, output} - {0, 1, 2}:
            os.close(descriptor)


def _greeting() -> dict[str, object]:
    try:
        folder = os.getcwd()
    except OSError:
        # Somebody removed the folder of the client.
        folder = "/"
    return {"want": "serve", "folder": folder, "pid": os.getpid()}


def _close_others(kept: set[int]) -> None:
    """Close what the starter has open, so that the serving process holds no stream of a client."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor > 2 and descriptor not in kept:
            # The descriptor of the listing itself is closed already.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _tell(ready: int, message: bytes) -> None:
    """Tell the starter. It may have ended, or know already that this process listens."""
    with contextlib.suppress(OSError):
        os.write(ready, message)
