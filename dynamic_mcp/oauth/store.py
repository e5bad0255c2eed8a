"""Where tokens are kept, and the files that they are kept in by default.

The files are ``~/.dynamic-mcp/oauth-servers/<server>.json``, one for each server.
Private from the moment they exist (0600 in 0700, whatever the umask), replaced in one step, and readable by dmcp, whose files are read
too. What an earlier program left open to others is closed to them when it is met, never outside of ``~/.dynamic-mcp``; a file that anybody
could have written is removed unread. A file that is damaged is no token; it is replaced by the next sign-in. A lock on each file keeps
two processes from renewing the same token at once, which would look like theft to the authorization server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import anyio
import msgspec

from dynamic_mcp import atomic_write
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.tokens import Tokens

#: Seconds to wait for another process that renews the same token.
LOCK_PATIENCE = 30.0
_LOCK_POLL = 0.05
_MAX_NAME = 180
_PRIVATE_DIR = 0o700
_PRIVATE_FILE = 0o600


def default_directory() -> Path:
    """Where the files are."""
    return Path.home() / ".dynamic-mcp" / "oauth-servers"


def file_name(server: str) -> str:
    """The name of a server's file, without its ending: no two servers have the same, and none leaves the directory.

    Letters, digits and ``-_.~`` stay, so that ordinary names are what dmcp uses; all else is percent-encoded.
    """
    # A name from the command line may hold bytes that are no UTF-8.
    name = quote(server, safe="-_.~", errors="surrogatepass")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _MAX_NAME:
        # "%~" is never the beginning of an encoded character.
        name = f"{name[:100]}%~{hashlib.sha256(server.encode(errors='surrogatepass')).hexdigest()}"
    return name


class TokenStore(Protocol):
    """The place for the tokens of one server."""

    @property
    def blocks(self) -> bool:
        """Whether to use it may take as long as a person takes, so that it is not for the event loop."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def load(self) -> Tokens | None:
        """The stored tokens; None when there are none, or none that can be read. Raises StoreFailed."""
        ...

    def save(self, tokens: Tokens) -> None:
        """Put these in the place of what is stored. Raises OSError and StoreFailed."""
        ...

    def delete(self) -> bool:
        """Forget the tokens; false when there were none. Raises StoreFailed."""
        ...

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Held by one process at a time. Raises UpstreamFailed when another one does not let go."""
        ...


class FileStore:
    """The token file of one server."""

    blocks = False

    def __init__(self, server: str, directory: Path | None = None) -> None:
        self._server = server
        self._directory = directory or default_directory()
        self.path = self._directory / f"{file_name(server)}.json"

    @property
    def place(self) -> str:
        """See ``TokenStore``."""
        return str(self.path)

    def load(self) -> Tokens | None:
        """The stored tokens; None when there are none, or none that can be read."""
        try:
            self._close_directories()
            data = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("the token file of server %s cannot be read: %s", self._server, error.strerror)
            return None
        return None if data is None else decoded(data, self._server, "the token file")

    def save(self, tokens: Tokens) -> None:
        """Replace the file in one step. Raises OSError."""
        self.make_directories()
        atomic_write.replace(self.path, msgspec.json.format(msgspec.json.encode(tokens), indent=2) + b"\n")

    def delete(self) -> bool:
        """Remove the file; false when there was none."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    def lock(self) -> AbstractAsyncContextManager[None]:
        """See ``TokenStore``; nothing is held where there is no file."""
        return locked(self.path)

    def make_directories(self) -> None:
        """Make the folder of the files, private. Raises OSError."""
        self._directory.parent.mkdir(mode=_PRIVATE_DIR, parents=True, exist_ok=True)
        self._directory.mkdir(mode=_PRIVATE_DIR, exist_ok=True)
        self._close_directories()

    def _close_directories(self) -> None:
        for path in (self._directory.parent, self._directory):
            with contextlib.suppress(OSError):
                _close_to_others(path, _PRIVATE_DIR)

    def _read(self) -> bytes | None:
        """What the file holds; None when somebody else may have written it. Raises OSError."""
        with self.path.open("rb") as file:
            if doubt := _doubt(os.fstat(file.fileno()), self._directory):
                # Closed and kept, it would be believed the next time.
                with contextlib.suppress(OSError):
                    self.path.unlink()
                log.warning("%s %s; what it says is not used, and it was removed", self.path, doubt)
                return None
            with contextlib.suppress(OSError):
                _close_to_others(self.path, _PRIVATE_FILE)
            return file.read()


def _doubt(found: os.stat_result, directory: Path) -> str:
    """Why a token file with this status may be the work of somebody else; empty when it is not."""
    if sys.platform == "win32":
        return ""
    if found.st_mode & stat.S_IWOTH:
        return f"could be written by anybody (mode {stat.S_IMODE(found.st_mode):o})"
    if found.st_uid not in (os.geteuid(), directory.stat().st_uid):
        return "belongs to another user"
    return ""


def _close_to_others(path: Path, mode: int) -> None:
    """Take from others what an earlier program gave them. Raises OSError."""
    # What a symbolic link leads to is not ours to change.
    if sys.platform == "win32" or path.is_symlink():
        return
    found = stat.S_IMODE(path.stat().st_mode)
    if found & 0o077:
        path.chmod(mode)
        log.warning("%s was open to others (mode %o); now it is %o", path, found, mode)


def decoded(data: bytes | str, server: str, what: str) -> Tokens | None:
    """Tokens as they were stored; None when they cannot be read, or are another server's. ``what`` held them."""
    try:
        tokens = msgspec.json.decode(data, type=Tokens)
        if tokens.expires_at is not None:
            # Without a zone it is another instant on each machine.
            if datetime.fromisoformat(tokens.expires_at).tzinfo is None:
                raise ValueError
            tokens.seconds_left(0.0)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        log.warning("%s of server %s is damaged; a new sign-in replaces it", what, server)
        return None
    if not tokens.access_token or (tokens.server is not None and tokens.server != server):
        return None
    return tokens


@asynccontextmanager
async def locked(path: Path, *, create: bool = False) -> AsyncIterator[None]:
    """The lock of a file, as long as there is one. Raises UpstreamFailed when another process does not let go.

    The lock is on the file itself. Whoever waited for it while it was replaced holds the lock of the old file, and tries again.
    """
    descriptor: int | None = None
    try:
        with anyio.move_on_after(LOCK_PATIENCE) as patience:
            while (descriptor := _open(path, create)) is not None:
                await _flock(descriptor)
                if _is_current(descriptor, path):
                    break
                os.close(descriptor)
        if patience.cancelled_caught:
            raise UpstreamFailed("another process holds the lock of its tokens")
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(path: Path, create: bool) -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_CREAT if create else 0), _PRIVATE_FILE)
    except OSError:
        return None


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


async def _flock(descriptor: int) -> None:
    """Wait for the lock without keeping the event loop waiting."""
    import fcntl

    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await anyio.sleep(_LOCK_POLL)
        except OSError as error:
            # A file system without locks.
            log.debug("there is no lock for token files: %s", error.strerror)
            return
        else:
            return
