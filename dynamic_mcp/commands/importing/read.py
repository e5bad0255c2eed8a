"""Reads a tool's file as plain values. JSON may have comments and trailing commas; TOML is plain TOML."""

from __future__ import annotations

import codecs
import json
import tomllib
from pathlib import Path
from typing import Any

from dynamic_mcp import files
from dynamic_mcp.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """The object in the file. Raises ConfigError, without any value."""
    try:
        text = files.read(path, files.MAX_CONFIG, follow=True).removeprefix(codecs.BOM_UTF8).decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save the file as UTF-8") from None
    values = _toml(text, path) if path.suffix == ".toml" else _json(text, path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is not an object with servers in it")
    return values


def _toml(text: str, path: Path) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message ends with the position, and contains at most the character there.
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _json(text: str, path: Path) -> Any:
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError:
        pass
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply to be a configuration") from None
    # The slow parser is only for text that is not plain JSON.
    import json5

    try:
        return json5.loads(text)
    except ValueError as error:
        where = str(error).removeprefix("<string>:")
        raise ConfigError(f"{path}: line {where}; check commas, quotes and brackets there") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply to be a configuration") from None


def servers(values: dict[str, Any], keys: tuple[str, ...], path: Path) -> dict[str, Any]:
    """The servers in the file, by name. Raises ConfigError."""
    inner: Any = values
    for depth, key in enumerate(keys):
        inner = inner.get(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {'.'.join(keys[: depth + 1])} is not an object with servers in it")
    found: dict[str, Any] = inner
    return found
