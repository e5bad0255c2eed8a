"""Places for tokens; by default the files ``~/.dynamic-mcp/oauth-servers/<server>.json``. ``bound_store`` chooses among them.

The files are private from the start (0600 in 0700, for any umask) and are replaced in one step. dmcp reads them too. If an earlier
program left a file or folder open to other users, the store restricts it, but never outside of ``~/.dynamic-mcp``. It removes a file
that any user could have written, without reading it. It uses no file or folder of another user, and no symbolic link in place of a
file. A damaged file counts as no token, and the next sign-in replaces it. A lock for each name keeps two processes from renewing the
same token at the same time, which an authorization server would take for theft.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import anyio
import msgspec

from dynamic_mcp import atomic_write, files
from dynamic_mcp.errors import StoreFailed, UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.tokens import Tokens

#: Seconds to wait for another process that renews the same token.
LOCK_TIMEOUT = 30.0
_LOCK_POLL = 0.05
_MAX_NAME = 180
#: Bytes of a token file.
_MAX_SIZE = 1 << 20
_PRIVATE_DIR = 0o700
_PRIVATE_FILE = 0o600


def default_directory() -> Path:
    """The folder of the files."""
    return Path.home() / ".dynamic-mcp" / "oauth-servers"


def file_name(server: str) -> str:
    """The name of a server's file, without its suffix: unique for each server, and always inside the directory.

    Letters, digits and ``-_.~`` stay, so ordinary names are those of dmcp; everything else is percent-encoded.
    """
    # A name from the command line may contain bytes that are not UTF-8.
    name = quote(server, safe="-_.~", errors="surrogatepass")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _MAX_NAME:
        # No encoded character begins with "%~".
        name = f"{name[:100]}%~{hashlib.sha256(server.encode(errors='surrogatepass')).hexdigest()}"
    return name


class TokenStore(Protocol):
    """The storage for the tokens of one server."""

    @property
    def blocks(self) -> bool:
        """Whether a method may wait for the user, so that it must run in a thread."""
        ...

    @property
    def location(self) -> str:
        """Where the tokens are, for a message."""
        ...

    def load(self) -> Tokens | None:
        """The stored tokens; None without readable ones. Raises StoreFailed."""
        ...

    def exists(self) -> bool:
        """Whether there is something at the place, readable or not. Raises StoreFailed."""
        ...

    def save(self, tokens: Tokens) -> None:
        """Replace the stored tokens. Raises OSError and StoreFailed."""
        ...

    def delete(self) -> bool:
        """Delete the tokens; false if there were none. Raises StoreFailed."""
        ...

    def lock(self) -> AbstractAsyncContextManager[None]:
        """A lock between processes. Raises UpstreamFailed if another process holds it for too long."""
        ...

    def open_beside(self, suffix: str) -> int | None:
        """A descriptor of a private file of this entry, made if necessary; None where there can be none."""
        ...


class FileStore:
    """One token file of a server: that of its name, or with ``slot`` that of one entry with this name."""

    blocks = False

    def __init__(self, server: str, directory: Path | None = None, slot: str = "") -> None:
        self._server = server
        self._directory = directory or default_directory()
        # No encoded character begins with "%@".
        self.path = self._directory / f"{file_name(server)}{slot and f'%@{slot}'}.json"
        self._reported = ""
        #: content that cannot be read, of which the user knows
        self._damaged = b""

    @property
    def location(self) -> str:
        return str(self.path)

    def load(self) -> Tokens | None:
        try:
            data = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._report(error)
            return None
        if data is None or data == self._damaged:
            return None
        tokens = decode_tokens(data, self._server, "token file")
        self._damaged = b"" if tokens is not None else data
        return tokens

    def exists(self) -> bool:
        """Whether the file exists. One that cannot be seen may exist."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def save(self, tokens: Tokens) -> None:
        """Replace the file in one step. Raises OSError."""
        self.make_directories()
        content = msgspec.json.format(msgspec.json.encode(tokens), indent=2) + b"\n"
        with self._folder() as folder:
            atomic_write.replace(self._in(folder, self.path), content, folder)

    def delete(self) -> bool:
        try:
            with self._folder() as folder:
                os.unlink(self._in(folder, self.path), dir_fd=folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreFailed(
                f"{self._directory / (error.filename or self.path)}: {error.strerror}"
            ) from None
        return True

    def all_of_name(self) -> list[FileStore]:
        """This file, and those of all entries with the same name."""
        slots = self._directory.glob(f"{glob.escape(self.path.stem)}%@*.json")
        names = sorted(path.stem.removeprefix(self.path.stem)[2:] for path in slots)
        return [self, *(FileStore(self._server, self._directory, slot) for slot in names)]

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """A lock on an empty file beside this one; where it cannot be created, it locks nothing.

        Raises UpstreamFailed if another process holds it for too long. If another process removed the empty file during the wait, the
        wait starts again.
        """
        path, descriptor = self.path.with_name(f"{self.path.stem}.lock"), None
        with contextlib.suppress(OSError):
            self.make_directories()
        try:
            with anyio.move_on_after(LOCK_TIMEOUT) as deadline:
                while (descriptor := self._open_to_lock(path, os.O_RDONLY)) is not None:
                    await _flock(descriptor)
                    if _is_current(descriptor, path):
                        break
                    os.close(descriptor)
            if deadline.cancelled_caught:
                raise UpstreamFailed("another process holds the lock of its tokens")
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def open_beside(self, suffix: str) -> int | None:
        with contextlib.suppress(OSError):
            self.make_directories()
        return self._open_to_lock(self.path.with_name(f"{self.path.stem}{suffix}"), os.O_RDWR)

    def make_directories(self) -> None:
        """Make the private folder of the files. Raises OSError."""
        self._directory.parent.mkdir(mode=_PRIVATE_DIR, parents=True, exist_ok=True)
        self._directory.mkdir(mode=_PRIVATE_DIR, exist_ok=True)

    @contextmanager
    def _folder(self) -> Iterator[int | None]:
        """The descriptor of the folder, which only this user can write to; None on Windows. Raises OSError."""
        if sys.platform == "win32":
            yield None
            return
        with contextlib.ExitStack() as stack:
            for path in (self._directory.parent, self._directory):
                folder, is_link = files.open_folder(path)
                stack.callback(os.close, folder)
                # The target of a symbolic link may be outside of the folder.
                if not is_link:
                    _close_to_others(folder, path, _PRIVATE_DIR)
            yield folder

    @staticmethod
    def _in(folder: int | None, path: Path) -> Path:
        """The path of a file, relative to the descriptor of its folder if there is one."""
        return path if folder is None else Path(path.name)

    def _read(self) -> bytes | None:
        """The content of the file; None if another user may have written it. Raises OSError."""
        with self._folder() as folder:
            name = self._in(folder, self.path)
            descriptor = files.open_file(name, folder=folder)
            try:
                mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
                if sys.platform != "win32" and mode & stat.S_IWOTH:
                    # If the store restricted the file instead, the next load would trust it.
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=folder)
                    what = f"could be written by any user (mode {mode:o})"
                    log.warning("%s %s; it was removed and is not used", self.path, what)
                    return None
                _close_to_others(descriptor, self.path, _PRIVATE_FILE)
                return files.read_from(descriptor, _MAX_SIZE)
            finally:
                os.close(descriptor)

    def _open_to_lock(self, path: Path, flags: int) -> int | None:
        if sys.platform == "win32":
            return None
        try:
            with self._folder() as folder:
                return files.open_file(self._in(folder, path), flags | os.O_CREAT, folder=folder)
        except files.NotTrusted as error:
            self._report(error)
        except OSError as error:
            log.debug("token files cannot be locked: %s", error.strerror)
        return None

    def _report(self, error: OSError) -> None:
        """Warn once of a file or folder that cannot be used."""
        text = f"{self._directory / (error.filename or self.path)}: {error.strerror}"
        if text != self._reported:
            self._reported = text
            log.warning("group %s: its stored tokens are not used: %s", self._server, text)


def _close_to_others(descriptor: int, path: Path, mode: int) -> None:
    """Remove the permissions of other users, with a warning that names the path."""
    with contextlib.suppress(OSError):
        if old := files.restrict(descriptor, mode):
            log.warning("%s was open to others (mode %o); now it is %o", path, old, mode)


def decode_tokens(data: bytes | str, server: str, what: str) -> Tokens | None:
    """Stored tokens; None if they are damaged. ``what`` names their source in the log."""
    try:
        tokens = msgspec.json.decode(data, type=Tokens)
        if tokens.expires_at is not None:
            # Without a time zone the instant depends on the machine.
            if datetime.fromisoformat(tokens.expires_at).tzinfo is None:
                raise ValueError
            tokens.seconds_left(0.0)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        log.warning("group %s: its %s is damaged; a new sign-in replaces it", server, what)
        return None
    return tokens if tokens.access_token else None


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False


async def _flock(descriptor: int) -> None:
    """Wait for the lock without blocking the event loop."""
    import fcntl

    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await anyio.sleep(_LOCK_POLL)
        except OSError as error:
            # The file system may have no locks.
            log.debug("token files cannot be locked: %s", error.strerror)
            return
        else:
            return
