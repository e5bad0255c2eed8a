"""What a check saw, as text for the person who reads a failure: JSON, and the fields of an object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from conformance.workbench.timeline import shorten

_DEEPEST = 30


def show(seen: Any) -> str:
    """A value as text of bounded length."""
    return shorten(seen if isinstance(seen, str) else _text(seen))


def _text(value: Any, depth: int = 0) -> str:
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return _quoted(value.decode(errors="backslashreplace"))
    if isinstance(value, Mapping):
        members = (f"{_text(name, depth + 1)}: {_text(one, depth + 1)}" for name, one in value.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(value, set | frozenset):
        return f"[{', '.join(sorted(_text(one, depth + 1) for one in value))}]"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(one, depth + 1) for one in value)}]"
    if is_dataclass(value) and not _describes_itself(type(value)):
        return _fields(value, depth)
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value) or repr(value)


def _quoted(text: str) -> str:
    """JSON text, in which each character that no terminal shows is an escape."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in quoted)


def _describes_itself(kind: type) -> bool:
    """Whether a dataclass has a text of its own in place of the generated one."""
    has_str = any("__str__" in vars(one) for one in kind.__mro__[:-1])
    return has_str or not hasattr(kind.__repr__, "__wrapped__")


def _fields(value: Any, depth: int) -> str:
    """What the object has, by name; a single field has no name, and a text in it no quotation marks."""
    found = {one.name: getattr(value, one.name) for one in fields(value) if one.repr}
    if len(found) == 1:
        only = next(iter(found.values()))
        return only if isinstance(only, str) else _text(only, depth + 1)
    return ", ".join(f"{name} {_text(one, depth + 1)}" for name, one in found.items())
