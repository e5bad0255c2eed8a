"""Tokens in the keyring of the operating system, by the library ``keyring`` (extra ``keyring``), which is loaded when it is needed.

No token is in a file of ours then. Where there is no keyring that can be trusted with one, or it refuses, the server that needs
a token fails with that reason: files do not take its place. A backend that the user has chosen is taken as it is (``keyring``'s own
configuration, ``PYTHON_KEYRING_BACKEND``); of those that were only found, one that the library does not recommend is not.

To ask a keyring may take as long as a person takes to unlock it, so it is not asked on the event loop. Limits: the Windows
Credential Locker takes 1280 characters, which is less than some tokens have; that is said like any other refusal.
"""

from __future__ import annotations

import threading
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from dynamic_mcp.errors import StoreFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.store import FileStore, decode_tokens, file_lock
from dynamic_mcp.oauth.tokens import Tokens

#: The name of the entries; the user name of one is the name of the server.
SERVICE = "dynamic-mcp"
_INSTALL = "it needs the library keyring: pip install 'dynamic-mcp-reference[keyring]'"

_choosing = threading.Lock()
_chosen: list[Any] = []


class KeyringStore:
    """The entry of one server."""

    blocks = True

    def __init__(self, server: str, file: FileStore | None = None) -> None:
        """``file`` is where tokens would be otherwise; its folder holds the lock."""
        self._server = server
        self._file = file or FileStore(server)
        self._told = False

    @property
    def location(self) -> str:
        return "the keyring"

    def load(self) -> Tokens | None:
        self._tell_of_the_file()
        text = self._do("get_password")
        return None if text is None else decode_tokens(text, self._server, "the keyring entry")

    def save(self, tokens: Tokens) -> None:
        self._do("set_password", msgspec.json.encode(tokens).decode())

    def delete(self) -> bool:
        if self._do("get_password") is None:
            return False
        self._do("delete_password")
        return True

    def lock(self) -> AbstractAsyncContextManager[None]:
        """See ``TokenStore``: the lock of an empty file."""
        try:
            self._file.make_directories()
        except OSError as error:
            log.debug("there is no lock for the keyring: %s", error.strerror)
        return file_lock(self._file.path.with_suffix(".lock"), create=True)

    def _do(self, what: str, *more: str) -> str | None:
        try:
            found: str | None = getattr(_backend(), what)(SERVICE, self._server, *more)
        except StoreFailed:
            raise
        except Exception as error:
            # Each backend has errors of its own, whose texts may hold anything.
            raise StoreFailed(f"the keyring refuses its tokens ({type(error).__name__})") from None
        return found

    def _tell_of_the_file(self) -> None:
        if not self._told and self._file.path.exists():
            self._told = True
            log.warning(
                "server %s: tokens are kept in the keyring, and those in %s are not used; "
                "dynamic-mcp logout removes them",
                self._server,
                self._file.path,
            )


def _backend() -> Any:
    """The keyring of this machine. Raises StoreFailed when there is none that can be used, and looks anew the next time."""
    with _choosing:
        if not _chosen:
            _chosen.append(_choose())
        return _chosen[0]


def _choose() -> Any:
    try:
        from keyring import core
        from keyring.backends import fail, null
    except ImportError:
        raise StoreFailed(f"its tokens are to be kept in the keyring: {_INSTALL}") from None
    try:
        core.init_backend(limit=core.recommended)
        found = core.get_keyring()
    except Exception as error:
        raise StoreFailed(
            f"its tokens are to be kept in the keyring, whose backend cannot be loaded ({type(error).__name__})"
        ) from None
    if isinstance(found, fail.Keyring | null.Keyring):
        raise StoreFailed(
            "its tokens are to be kept in the keyring, and there is no usable one on this machine"
        )
    return found
