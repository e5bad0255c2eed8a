"""A backend of the library `keyring` that stores everything as plain text, in the file that MOCK_KEYCHAIN names.

It runs inside the program under test, which has that library, and imports nothing else from this package.
"""

import json
import os
from pathlib import Path

from keyring import backend


class Keyring(backend.KeyringBackend):
    """Passwords by service and user name."""

    priority = 5

    def get_password(self, service: str, username: str) -> str | None:
        """The password; None if there is none."""
        return self._read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store a password, and replace an older one."""
        self._write({**self._read(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        """Delete a password, if there is one."""
        kept = self._read()
        kept.pop(f"{service}/{username}", None)
        self._write(kept)

    @property
    def _file(self) -> Path:
        return Path(os.environ["MOCK_KEYCHAIN"])

    def _read(self) -> dict[str, str]:
        try:
            kept: dict[str, str] = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        return kept

    def _write(self, kept: dict[str, str]) -> None:
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(kept))
        os.replace(new, self._file)
