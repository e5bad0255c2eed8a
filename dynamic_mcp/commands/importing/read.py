"""Reads a tool's file as plain values. JSON may have comments and trailing commas; TOML is plain TOML."""

from __future__ import annotations

import codecs
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dynamic_mcp import files
from dynamic_mcp.commands.importing import pitfalls
from dynamic_mcp.config.places import Places
from dynamic_mcp.errors import ConfigError

#: Objects and lists inside each other.
_MAX_DEPTH = 100


def read(path: Path) -> dict[str, Any]:
    """The object in the file. Raises ConfigError, without any value."""
    return read_with_places(path, ())[0]


def read_with_places(path: Path, sections: Iterable[tuple[str, ...]]) -> tuple[dict[str, Any], Places | None]:
    """The object in the file, and the places of its members if it is JSON.

    Raises ConfigError, without any value. A member that is there twice and a single backslash are mistakes in the ``sections`` only.
    """
    try:
        text = files.read(path, files.MAX_CONFIG, follow=True).removeprefix(codecs.BOM_UTF8).decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save the file as UTF-8") from None
    try:
        values, places = (_toml(text, path), None) if path.suffix == ".toml" else _json(text, sections, path)
        is_deep = _is_deep(values)
    except RecursionError:
        is_deep = True
    if is_deep:
        raise ConfigError(f"{path}: is nested too deeply to be a configuration")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is not an object with servers in it")
    return values, places


def _toml(text: str, path: Path) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise pitfalls.toml_mistake(text, str(error), path) from None
    except ValueError:
        raise ConfigError(f"{path}: is not TOML: a number has too many digits") from None


def _json(text: str, sections: Iterable[tuple[str, ...]], path: Path) -> tuple[Any, Places]:
    if not text.strip():
        return {}, Places("")
    try:
        return json.loads(text), pitfalls.check_json(text, sections, path)
    except ValueError:
        pass
    # The parser of JSON5 drops single backslashes. It is slow, and only for text that is not plain JSON.
    places = pitfalls.check_json(text, sections, path)
    import json5

    try:
        return json5.loads(text), places
    except ValueError as error:
        where = str(error).removeprefix("<string>:")
        raise ConfigError(f"{path}: line {where}; check commas, quotes and brackets there") from None


def _is_deep(values: Any) -> bool:
    """Whether objects and lists are inside each other more often than the conversion can follow."""
    level = [values]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def servers(values: dict[str, Any], keys: tuple[str, ...], path: Path) -> dict[str, Any]:
    """The servers in the file, by name. Raises ConfigError."""
    inner: Any = values
    for depth, key in enumerate(keys):
        inner = inner.get(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {'.'.join(keys[: depth + 1])} is not an object with servers in it")
    found: dict[str, Any] = inner
    return found
