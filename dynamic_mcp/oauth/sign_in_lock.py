"""One sign-in of an entry at a time, for all processes of the user.

The process that signs in locks a private file beside the tokens, and writes into it where the user signs in. The others read this
address for their own messages. The system frees the lock when the process ends, however it ends, so another process can take over.
Without locks, as on Windows and some network file systems, each process signs in for itself.
"""

from __future__ import annotations

import os
import sys

import msgspec

from dynamic_mcp.log import log
from dynamic_mcp.oauth.store import TokenStore

_SUFFIX = ".signin.lock"
_MAX_SIZE = 1 << 16


class SharedSignIn(msgspec.Struct, frozen=True):
    """What the process that signs in tells the others."""

    #: where the user signs in; empty before that is known, and afterwards
    address: str = ""
    #: why the sign-in did not succeed; empty without a failure that the user knows of
    problem: str = ""


class SignInLock:
    """The lock on the sign-in of one entry."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._descriptor: int | None = None
        self._has_waited = False
        #: the news of the other process
        self.other = SharedSignIn()

    def take(self) -> bool:
        """Whether this process has the lock now. If another one has it, ``other`` is up to date."""
        descriptor = self._store.open_beside(_SUFFIX)
        if descriptor is None:
            return True
        if not _lock(descriptor):
            self.other, self._has_waited = _read(descriptor), True
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self.other = _read(descriptor) if self._has_waited else SharedSignIn()
        self.tell(SharedSignIn())
        return True

    def tell(self, news: SharedSignIn) -> None:
        """Replace the news for the other processes. Without news the file is empty."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, 0)
            if news != SharedSignIn():
                os.pwrite(self._descriptor, msgspec.json.encode(news), 0)
        except OSError as error:
            log.debug("the address of the sign-in cannot be shared: %s", error.strerror)

    def end(self, problem: str = "") -> None:
        """Let the next process have the lock, and tell it of a failure that it must not repeat. A second call does nothing."""
        if self._descriptor is not None:
            self.tell(SharedSignIn(problem=problem))
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> bool:
    """Lock the file, if no other process has locked it. True too where files cannot be locked."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.debug("sign-ins cannot be locked: %s", error.strerror)
    return True


def _read(descriptor: int) -> SharedSignIn:
    try:
        return msgspec.json.decode(os.pread(descriptor, _MAX_SIZE, 0), type=SharedSignIn)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        # The other process may be writing.
        return SharedSignIn()
