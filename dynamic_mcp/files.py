"""Opens files that another user may have exchanged, and reads them up to a bound.

Every judgement is about the opened descriptor, because a path can lead to another file a moment later. An opened file is a regular file
of this user or of root. Opening never waits: a named pipe without a writer would stop the whole proxy. Windows has neither these owners
nor these flags, so there only the kind and the bound count.

An ``OSError`` says in ``strerror`` what is wrong, and what the user can do.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

#: Bytes of a configuration file.
MAX_CONFIG = 16 << 20
_READ = os.O_RDONLY
_COMMON = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
_CHUNK = 1 << 16


class NotTrusted(OSError):
    """The file or folder belongs to another user, or is something else than expected."""

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        super().__init__(errno.EPERM, problem, os.fspath(path))


def open_file(
    path: str | os.PathLike[str],
    flags: int = _READ,
    *,
    follow: bool = False,
    folder: int | None = None,
) -> int:
    """The descriptor of a regular file; a new one has mode 0600. Raises NotTrusted and other kinds of OSError.

    ``follow``: the last component of the path may be a symbolic link. ``folder`` is the descriptor of the folder of a relative path.
    """
    try:
        descriptor = os.open(path, flags | _COMMON | (0 if follow else _NO_FOLLOW), 0o600, dir_fd=folder)
    except OSError as error:
        if problem := _problem_of(error, follow):
            raise NotTrusted(path, problem) from None
        raise
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(found.st_mode):
            raise NotTrusted(path, f"it is {_kind(found.st_mode)}; use a regular file")
        if problem := _foreign_owner(found):
            raise NotTrusted(path, problem)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_folder(path: str | os.PathLike[str]) -> tuple[int, bool]:
    """The descriptor of a folder of this user or of root, and whether the path is a symbolic link to it.

    Raises NotTrusted and other kinds of OSError. Not for Windows, where a folder has no descriptor.
    """
    flags, is_link = _READ | _COMMON | _DIRECTORY, False
    try:
        descriptor = os.open(path, flags | _NO_FOLLOW)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
            raise
        descriptor, is_link = os.open(path, flags), True
    try:
        if problem := _foreign_owner(os.fstat(descriptor)):
            raise NotTrusted(path, problem)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, is_link


def read(path: str | os.PathLike[str], limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file. Raises OSError, also for more than ``limit`` bytes; the arguments are those of ``open_file``."""
    descriptor = open_file(path, follow=follow)
    try:
        return read_from(descriptor, limit)
    finally:
        os.close(descriptor)


def read_from(descriptor: int, limit: int) -> bytes:
    """The rest of an open file. Raises OSError for more than ``limit`` bytes, and never reads many more."""
    content = bytearray()
    # The size is no bound: a file can grow while it is read.
    while chunk := os.read(descriptor, min(_CHUNK, limit + 1 - len(content))):
        content += chunk
        if len(content) > limit:
            raise OSError(errno.EFBIG, f"it has more than {limit} bytes; make it smaller")
    return bytes(content)


def _foreign_owner(found: os.stat_result) -> str:
    """What is wrong with the owner of a file with this status; empty if it is this user or root."""
    if sys.platform == "win32" or found.st_uid in (os.geteuid(), 0):
        return ""
    return f"it belongs to another user (uid {found.st_uid}); use one of your own, or change its owner"


def restrict(descriptor: int, mode: int) -> int:
    """Take away the permissions of other users, if the file is of this user. Returns the old mode, 0 without a change."""
    found = os.fstat(descriptor)
    old = stat.S_IMODE(found.st_mode)
    if sys.platform == "win32" or found.st_uid != os.geteuid() or not old & 0o077:
        return 0
    os.fchmod(descriptor, mode)
    return old


def is_pipe(descriptor: int) -> bool:
    """Whether an event loop can poll this descriptor: it is a pipe or a socket, and the system is not Windows."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _problem_of(error: OSError, follow: bool) -> str:
    """A plain word for an error that stands for a kind of file."""
    if error.errno in (errno.ELOOP, errno.EMLINK) and not follow:
        return "it is a symbolic link; use a regular file"
    if error.errno in (errno.ENXIO, errno.ENODEV, getattr(errno, "EOPNOTSUPP", errno.ENXIO)):
        return "it is a pipe, a socket or a device; use a regular file"
    return ""


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"
