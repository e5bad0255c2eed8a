"""Finds literal credentials in a configuration file that other users can read, and a file that every user can change.

A credential is an ``Authorization`` header, a password in a URL, or the secret or key of an OAuth client. A header, env value or query
parameter is one if its name contains "token", "secret", "password" or "key". A value with a reference to a
variable is not a credential. The warning contains locations, never values. Only the mode of the file itself counts, not those of its
folders, because a user may open a folder or copy the file.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec

from dynamic_mcp import files
from dynamic_mcp.config.expand import REFERENCE

#: Does not match "MAX_TOKENS", "MONKEY", "KEYBOARD", "TOKENIZERS_PARALLELISM" and "TLS_KEY_FILE".
_CREDENTIAL_NAME = re.compile(
    r"(token|secrets?|passwords?|passwd|((?<![a-z])|api|access|private)keys?)(?![a-z])(?!_?(file|path|dir)\b)",
    re.IGNORECASE,
)


def warnings(path: Path) -> Sequence[str]:
    """Warnings about this configuration file. The file was valid, but may have changed meanwhile."""
    try:
        descriptor = files.open_file(path, follow=True)
    except OSError:
        return ()
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        content = files.read_from(descriptor, files.MAX_CONFIG) if mode & 0o044 else b""
    except OSError:
        return ()
    finally:
        os.close(descriptor)
    if sys.platform == "win32":
        return ()
    found = (_changeable(path, mode), _exposed(path, mode, content))
    return tuple(filter(None, found))


def _changeable(path: Path, mode: int) -> str:
    if not mode & stat.S_IWOTH:
        return ""
    return f"{path}: can be changed by every user (mode {mode:o}), who can then start programs as you; close it (chmod 600)"


def _exposed(path: Path, mode: int, content: bytes) -> str:
    try:
        file = msgspec.json.decode(content.removeprefix(codecs.BOM_UTF8), type=_File)
    except (msgspec.DecodeError, RecursionError):
        return ""
    locations = [
        location
        for name, entry in file.servers.items()
        for location in (
            *credentials(entry.env, entry.headers, entry.url, f"mcpServers.{name}"),
            *_client_secrets(entry, f"mcpServers.{name}"),
        )
    ]
    if not locations:
        return ""
    found = f"can be read by others (mode {mode:o}) and contains what looks like credentials: {', '.join(locations)}"
    return f"{path}: {found}; close it (chmod 600) and write ${{VARIABLE}} in their place"


class _Key(msgspec.Struct):
    key: str | None = None


class _OAuth(msgspec.Struct):
    client_secret: str | None = None
    private_key_jwt: _Key | None = None


class _Entry(msgspec.Struct):
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    url: str | None = None
    oauth_client_secret: str | None = None
    oauth: _OAuth | None = None


class _File(msgspec.Struct):
    servers: dict[str, _Entry] = msgspec.field(name="mcpServers")


def credentials(
    env: Mapping[str, str], headers: Mapping[str, str], url: str | None, location: str
) -> Iterator[str]:
    """The locations of credentials in the entry of one server, before the expansion of references."""
    for field, values in (("env", env), ("headers", headers)):
        for name, value in values.items():
            is_credential = _CREDENTIAL_NAME.search(name) or (
                field == "headers" and name.lower() == "authorization"
            )
            if is_credential and _is_literal(value):
                yield f"{location}.{field}.{name}"
    if url is not None and _has_credentials(url):
        yield f"{location}.url"


def _client_secrets(entry: _Entry, location: str) -> Iterator[str]:
    oauth = entry.oauth or _OAuth()
    key = oauth.private_key_jwt or _Key()
    for field, value in (
        ("oauth_client_secret", entry.oauth_client_secret),
        ("oauth.client_secret", oauth.client_secret),
        ("oauth.private_key_jwt.key", key.key),
    ):
        if value is not None and _is_literal(value):
            yield f"{location}.{field}"


def _is_literal(value: str) -> bool:
    return bool(value.strip()) and not REFERENCE.search(value)


def _has_credentials(url: str) -> bool:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        # A reference may replace the host and the port.
        return False
    named = parse_qsl(parts.query)
    return _is_literal(password or "") or any(
        _CREDENTIAL_NAME.search(name) and _is_literal(value) for name, value in named
    )
