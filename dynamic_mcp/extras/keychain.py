"""Tokens in the keyring of the operating system, with the library ``keyring`` (extra ``keyring``).

The proxy then writes tokens into no file. Without a usable keyring, or if the keyring refuses, a server that needs a token fails with that
reason. The proxy does not use files instead. It uses any backend that the user chose (``PYTHON_KEYRING_BACKEND`` or the configuration of
``keyring``), else only a backend that the library recommends.

A keyring may wait for the user to unlock it, so its calls run in threads. The Windows Credential Locker accepts only 1280 characters,
fewer than some tokens have; that is a refusal like any other.
"""

from __future__ import annotations

import threading
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from dynamic_mcp.errors import StoreFailed
from dynamic_mcp.log import log
from dynamic_mcp.oauth.store import FileStore, decode_tokens, file_name
from dynamic_mcp.oauth.tokens import Tokens

#: The service name of all entries of the keyring; the user name is the name of the server, for some with a slot.
SERVICE = "dynamic-mcp"
_INSTALL = "it needs the library keyring: pip install 'dynamic-mcp-reference[keyring]'"

_choice_lock = threading.Lock()
_backends: list[Any] = []


class KeyringStore:
    """The keyring entry of one server."""

    blocks = True

    def __init__(self, server: str, file: FileStore | None = None, slot: str = "") -> None:
        """``file`` is the token file of the server; its folder contains the lock."""
        self._server = server
        self._user = f"{file_name(server)}%@{slot}" if slot else server
        self._file = file or FileStore(server)
        self._has_warned = False
        #: content that cannot be read, of which the user knows
        self._damaged: str | None = None

    @property
    def location(self) -> str:
        return "the keyring"

    def load(self) -> Tokens | None:
        self._warn_of_token_file()
        text = self._call("get_password")
        if text is None or text == self._damaged:
            return None
        tokens = decode_tokens(text, self._server, "keyring entry")
        self._damaged = None if tokens is not None else text
        return tokens

    def exists(self) -> bool:
        """Whether the keyring has an entry. Raises StoreFailed."""
        return self._call("get_password") is not None

    def save(self, tokens: Tokens) -> None:
        self._call("set_password", msgspec.json.encode(tokens).decode())

    def delete(self) -> bool:
        if not self.exists():
            return False
        self._call("delete_password")
        return True

    def lock(self) -> AbstractAsyncContextManager[None]:
        """The lock of the token file."""
        return self._file.lock()

    def open_beside(self, suffix: str) -> int | None:
        """A file beside the token file."""
        return self._file.open_beside(suffix)

    def _call(self, method: str, *arguments: str) -> str | None:
        try:
            result: str | None = getattr(_backend(), method)(SERVICE, self._user, *arguments)
        except StoreFailed:
            raise
        except Exception as error:
            # Each backend has its own errors, whose texts may contain anything.
            raise StoreFailed(f"the keyring refuses its tokens ({type(error).__name__})") from None
        return result

    def _warn_of_token_file(self) -> None:
        if not self._has_warned and self._file.path.exists():
            self._has_warned = True
            log.warning(
                "group %s: the tokens are in the keyring, and those in %s are not used; "
                "dynamic-mcp logout removes them",
                self._server,
                self._file.path,
            )


def _backend() -> Any:
    """The keyring of this machine. Raises StoreFailed without a usable one; the next call tries again."""
    with _choice_lock:
        if not _backends:
            _backends.append(_choose())
        return _backends[0]


def _choose() -> Any:
    try:
        from keyring import core
        from keyring.backends import fail, null
    except ImportError:
        raise StoreFailed(f"its tokens are to be kept in the keyring: {_INSTALL}") from None
    try:
        core.init_backend(limit=core.recommended)
        result = core.get_keyring()
    except Exception as error:
        raise StoreFailed(
            f"its tokens are to be kept in the keyring, whose backend cannot be loaded ({type(error).__name__})"
        ) from None
    if isinstance(result, fail.Keyring | null.Keyring):
        raise StoreFailed(
            "its tokens are to be kept in the keyring, and there is no usable one on this machine"
        )
    return result
